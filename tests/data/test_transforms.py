"""Transforms: stand-ins tell the truth, randomness is of the position, each does its thing."""

import io

import numpy as np
import pytest
from PIL import Image

from data.draws import Draws, key_of
from data.runtime import tensorflow
from data.transforms.common import parse
from training.contracts import ConfigError, Info

INFO = Info({"train": 8}, 5, statistics={"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)})
# Arguments for those that need some.
ARGUMENTS = {
    "resize": "5",
    "resize_small": "5",
    "center_crop": "4",
    "random_resized_crop": "5",
    "pad_crop": "2",
    "random_rotate": "20",
    "random_shift": "1.5",
    "randaugment": "2,9",
    "mixup": "0.4",
    "cutmix": "1.0",
    "random_erasing": "0.5",
}
NAMES = sorted(parse.factories())


def text_of(name: str) -> str:
    return f"{name}:{ARGUMENTS[name]}" if name in ARGUMENTS else name


def images(dtype: type = np.uint8, side: int = 6, count: int = 8, channels: int = 3) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)
    return pixels if dtype is np.uint8 else pixels.astype(np.float32) / np.float32(255)


def batch_of(dtype: type = np.uint8, side: int = 6) -> dict[str, np.ndarray]:
    return {"image": images(dtype, side), "label": np.arange(8, dtype=np.int32) % 5}


def apply(text, batch, first=40, graph=False, key=1, info=INFO) -> dict[str, np.ndarray]:
    """The transform on a batch; example by example where it takes no batches."""
    tf = tensorflow()
    transform = parse.one(text, "test")
    count = len(batch["label"])

    def run(number, part):
        draws = Draws(key, number, None if transform.level == "example" else count)
        return transform.apply(part, draws, info)

    if graph:
        run = tf.function(run, autograph=False)
    position = tf.constant(first, tf.int64)
    if transform.level != "example":
        result = run(position, {k: tf.constant(v) for k, v in batch.items()})
        return {k: v.numpy() for k, v in result.items()}
    rows = [
        run(position + i, {k: tf.constant(v[i]) for k, v in batch.items()}) for i in range(count)
    ]
    return {k: np.stack([row[k].numpy() for row in rows]) for k in rows[0]}


def takes(text: str, dtype: type) -> bool:
    try:
        parse.one(text, "test").stand_in(batch_of(dtype), INFO)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_the_stand_in_has_the_shapes_and_types_of_the_transform(name, dtype):
    text = text_of(name)
    if not takes(text, dtype):
        return
    stand_in = parse.one(text, "test").stand_in(batch_of(dtype), INFO)
    real = apply(text, batch_of(dtype))
    assert {k: (v.shape, v.dtype) for k, v in stand_in.items()} == {
        k: (v.shape, v.dtype) for k, v in real.items()
    }
    assert all(np.isfinite(v).all() for v in [*stand_in.values(), *real.values()])


def taken(name: str) -> type:
    return np.uint8 if takes(text_of(name), np.uint8) else np.float32


def test_every_transform_takes_one_type_at_least():
    assert all(takes(text_of(n), np.uint8) or takes(text_of(n), np.float32) for n in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_computes_what_single_operations_compute(name):
    """TensorFlow's graph optimizer has been seen to lose an axis: a batch of 8 and an 8x8 image."""
    text, dtype = text_of(name), taken(name)
    eager = apply(text, batch_of(dtype, 8))
    graph = apply(text, batch_of(dtype, 8), graph=True)
    for key, array in eager.items():
        np.testing.assert_allclose(graph[key], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_randomness_is_of_the_position(name):
    """A slice of a batch gets the numbers that it has in the whole; other positions others."""
    text, dtype = text_of(name), taken(name)
    batch = batch_of(dtype)
    whole = apply(text, batch)
    half = apply(text, {k: v[4:] for k, v in batch.items()}, first=44)
    assert all(np.array_equal(half[k], whole[k][4:]) for k in whole)
    random = parse.one(text, "test").train_only
    others = [apply(text, batch, first=1000), apply(text, batch, key=2)]
    assert all(np.array_equal(o["image"], whole["image"]) != random for o in others)


def test_draws_are_uniform_and_calls_are_independent():
    tf = tensorflow()
    draws = Draws(key_of("test"), tf.constant(0, tf.int64), 20000)
    one, two = draws.uniform(3).numpy(), draws.uniform(low=-2, high=6).numpy()
    assert abs(one.mean() - 0.5) < 0.01 and abs(one.var() - 1 / 12) < 0.002
    assert one.min() >= 0 and one.max() < 1
    assert two.min() >= -2 and two.max() < 6 and abs(two.mean() - 2) < 0.08
    corners = np.corrcoef(np.concatenate([one.T, two[None]]))
    assert np.abs(corners - np.eye(4)).max() < 0.03


def test_draws_far_into_the_stream():
    tf = tensorflow()
    far = Draws(1, tf.constant(10**12, tf.int64), 4).uniform(5).numpy()
    single = Draws(1, tf.constant(10**12 + 3, tf.int64)).uniform(5).numpy()
    assert np.array_equal(far[3], single)


def test_decode_reads_the_formats():
    pixels = images(count=1)[0]
    for form in ("PNG", "BMP", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form, lossless=True)
        batch = {"image": np.array([stream.getvalue()], object), "label": np.zeros(1, np.int32)}
        assert np.array_equal(apply("decode", batch)["image"][0], pixels), form
    stream = io.BytesIO()
    smooth = np.broadcast_to(np.arange(0, 64, 4, dtype=np.uint8)[:, None, None], (16, 16, 3))
    Image.fromarray(np.ascontiguousarray(smooth)).save(stream, "JPEG", quality=95)
    batch = {"image": np.array([stream.getvalue()], object), "label": np.zeros(1, np.int32)}
    np.testing.assert_allclose(apply("decode", batch)["image"][0], smooth, atol=3)
    assert apply("decode:1", batch)["image"].shape == (1, 16, 16, 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_crop_of_encoded_bytes_is_the_crop_of_the_image(form):
    smooth = np.broadcast_to(np.arange(0, 160, 5, dtype=np.uint8)[:, None, None], (32, 32, 3))
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(smooth)).save(stream, form)
    encoded = {"image": np.array([stream.getvalue()] * 4, object), "label": np.zeros(4, np.int32)}
    decoded = apply("decode", encoded)
    for first in (0, 4):
        one = apply("random_resized_crop:16", encoded, first)["image"].astype(int)
        two = apply("random_resized_crop:16", decoded, first)["image"].astype(int)
        assert np.abs(one - two).max() <= 4


def test_scales():
    batch = batch_of()
    unit = batch["image"] / 255.0
    np.testing.assert_allclose(apply("to_float", batch)["image"], unit, rtol=1e-6)
    np.testing.assert_allclose(
        apply("normalise", batch)["image"],
        (unit - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4],
        rtol=1e-5,
        atol=1e-6,
    )
    standard = apply("standardise", batch)["image"]
    np.testing.assert_allclose(standard.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(standard.std((1, 2, 3)), 1, rtol=1e-5)
    blank = {"image": np.full((1, 4, 4, 1), 7, np.uint8), "label": np.zeros(1, np.int32)}
    assert not apply("standardise", blank)["image"].any()


@pytest.mark.parametrize("text", ["to_float", "normalise", "standardise"])
def test_stand_ins_of_scales_compute_the_same(text):
    stand_in = parse.one(text, "test").stand_in(batch_of(), INFO)
    np.testing.assert_allclose(
        stand_in["image"], apply(text, batch_of())["image"], rtol=1e-4, atol=1e-5
    )


def test_normalise_needs_fitting_statistics():
    with pytest.raises(ConfigError, match="states no mean"):
        parse.one("normalise", "test").stand_in(batch_of(), Info({"train": 1}))
    grey = {"image": images(channels=1)}
    with pytest.raises(ConfigError, match="3 channels"):
        parse.one("normalise", "test").stand_in(grey, INFO)


def test_resize_of_a_wide_image():
    wide = {
        "image": np.broadcast_to(
            np.array([[10] * 8, [20] * 8], np.uint8)[None, ..., None], (1, 2, 8, 1)
        ),
        "label": np.zeros(1, np.int32),
    }
    assert apply("resize_small:4", wide)["image"].shape == (1, 4, 16, 1)
    square = apply("resize:4", wide)["image"]
    assert square.shape == (1, 4, 4, 1) and square.dtype == np.uint8
    assert (square[0, 0] == 10).all() and (square[0, -1] == 20).all()
    centered = apply("center_crop:2", wide)["image"]
    assert np.array_equal(centered, wide["image"][:, :, 3:5])


def test_flip_is_all_or_nothing_and_fair():
    batch = {"image": np.repeat(images(count=1), 400, 0), "label": np.zeros(400, np.int32)}
    flipped = apply("flip", batch)["image"]
    same = (flipped == batch["image"]).all((1, 2, 3))
    assert np.array_equal(flipped[~same], batch["image"][~same][:, :, ::-1])
    assert 150 < same.sum() < 250


def test_pad_crop_moves_by_whole_pixels_and_fills_with_zeros():
    one = images(count=1) // 2 + 1
    batch = {"image": np.repeat(one, 500, 0), "label": np.zeros(500, np.int32)}
    padded = np.pad(one[0], ((1, 1), (1, 1), (0, 0)))
    crops = {padded[y : y + 6, x : x + 6].tobytes(): (y, x) for y in range(3) for x in range(3)}
    found = [crops[image.tobytes()] for image in apply("pad_crop:1", batch)["image"]]
    assert len(set(found)) == 9
    assert min(found.count(place) for place in set(found)) > 25


def test_a_shift_moves_the_centre_of_mass_within_its_range():
    image = np.zeros((200, 9, 9, 1), np.float32)
    image[:, 4, 4] = 1
    moved = apply("random_shift:2", {"image": image, "label": np.zeros(200, np.int32)})["image"]
    np.testing.assert_allclose(moved.sum((1, 2, 3)), 1, rtol=1e-5)
    y = (moved.sum((2, 3)) * np.arange(9)).sum(1) - 4
    x = (moved.sum((1, 3)) * np.arange(9)).sum(1) - 4
    for offsets in (y, x):
        assert np.abs(offsets).max() <= 2.001
        assert offsets.min() < -1.8 and offsets.max() > 1.8
    assert abs(np.corrcoef(y, x)[0, 1]) < 0.2


def test_a_rotation_turns_around_the_centre_within_its_range():
    image = np.zeros((200, 15, 15, 1), np.float32)
    image[:, 7, 7] = image[:, 7, 12] = 1
    turned = apply("random_rotate:30", {"image": image, "label": np.zeros(200, np.int32)})["image"]
    np.testing.assert_allclose(turned[:, 7, 7], 1, atol=1e-3)
    turned[:, 6:9, 6:9] = 0
    mass = turned[..., 0] / turned.sum((1, 2, 3))[:, None, None]
    y = (mass.sum(2) * np.arange(15)).sum(1) - 7
    x = (mass.sum(1) * np.arange(15)).sum(1) - 7
    angles = np.degrees(np.arctan2(y, x))
    np.testing.assert_allclose(np.hypot(y, x), 5, atol=0.3)
    assert np.abs(angles).max() < 31 and angles.min() < -25 and angles.max() > 25


def test_uint8_and_float_images_move_alike():
    for text in ("random_rotate:20", "random_shift:1.5", "pad_crop:2", "resize:5", "flip"):
        exact = apply(text, {"image": images().astype(np.float32), "label": batch_of()["label"]})
        rounded = apply(text, batch_of())["image"]
        np.testing.assert_allclose(rounded, exact["image"], atol=0.501)


def test_random_resized_crop_covers_areas_and_stays_inside():
    ramp = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), -1).astype(np.float32)
    batch = {"image": np.repeat(ramp[None], 100, 0), "label": np.zeros(100, np.int32)}
    crops = apply("random_resized_crop:8", batch)["image"]
    assert crops.min() >= 0 and crops.max() <= 31
    extent = crops.max((1, 2)) - crops.min((1, 2))
    # A crop of s pixels resized to 8 spans about 7/8 of s.
    areas = (extent * 8 / 7).prod(-1) / 32**2
    ratios = extent[:, 1] / extent[:, 0]
    assert areas.min() > 0.05 and areas.max() <= 1.02 and 0.4 < areas.mean() < 0.65
    assert ratios.min() > 0.6 and ratios.max() < 1.6


def mixed(text):
    batch = {"image": images(np.float32, count=400), "label": np.arange(400, dtype=np.int32) % 5}
    return batch, apply(text, batch)


def test_mixup_mixes_images_and_labels_by_the_same_share():
    batch, result = mixed("mixup:0.4")
    labels = np.eye(5)[batch["label"]]
    pair = np.arange(400) ^ 1
    # Neighbours differ in their label, so that the share stands at the example's own label.
    share = result["label"][np.arange(400), batch["label"]]
    np.testing.assert_allclose(
        result["label"], share[:, None] * labels + (1 - share[:, None]) * labels[pair], atol=1e-6
    )
    expected = share[:, None, None, None] * batch["image"]
    expected += (1 - share[:, None, None, None]) * batch["image"][pair]
    np.testing.assert_allclose(result["image"], expected, atol=1e-5)
    # Beta(0.4, 0.4): mean 1/2, variance 1/(4 * 1.8).
    assert abs(share.mean() - 0.5) < 0.06 and abs(share.var() - 1 / 7.2) < 0.02


def test_cutmix_pastes_a_box_and_labels_by_its_area():
    batch, result = mixed("cutmix:1.0")
    pair = np.arange(400) ^ 1
    own = (result["image"] == batch["image"]).all(-1)
    pasted = (result["image"] == batch["image"][pair]).all(-1)
    assert (own ^ pasted).all()
    area = pasted.mean((1, 2))
    np.testing.assert_allclose(
        result["label"][np.arange(400), batch["label"][pair]], area, atol=1e-6
    )
    np.testing.assert_allclose(result["label"].sum(1), 1, rtol=1e-6)
    # A box: the rows and columns that hold any of it, all of their crossings.
    box = pasted.any(2)[:, :, None] & pasted.any(1)[:, None, :]
    assert np.array_equal(box, pasted)
    assert 0.2 < area.mean() < 0.5


def test_a_probability_leaves_the_others_alone():
    for text in ("mixup:0.4,0.25", "cutmix:1.0,0.25"):
        batch, result = mixed(text)
        assert result["label"].shape == (400, 5)
        untouched = (result["image"] == batch["image"]).all((1, 2, 3))
        assert 0.7 < untouched.mean() < 0.87, text


def test_mixing_twice_keeps_distributions():
    _, result = mixed("mixup:0.4")
    again = apply("cutmix:1.0", result)
    np.testing.assert_allclose(again["label"].sum(1), 1, rtol=1e-5)
    assert again["label"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_random_erasing_replaces_a_box_by_noise_of_the_scale(dtype):
    image = np.zeros((400, 16, 16, 3), dtype)
    batch = {"image": image, "label": np.zeros(400, np.int32)}
    result = apply("random_erasing:0.25", batch)["image"]
    erased: np.ndarray = result.max(-1) > 0
    touched = erased.any((1, 2))
    assert 0.18 < touched.mean() < 0.32
    box = erased.any(2, keepdims=True) & erased.any(1, keepdims=True)
    assert (box ^ erased).sum() <= 3
    noise = result[erased].astype(float)
    top = 255 if dtype is np.uint8 else 1
    assert abs(noise.mean() / top - 0.5) < 0.02 and noise.max() <= top


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flipp", "an unknown transform: did you mean 'flip'?"),
        ("zzzz", "an unknown transform: known: center_crop, "),
        ("", "an unknown transform"),
        ("resize", "its form is 'resize:<size>'"),
        ("resize:a", "its form is 'resize:<size>'"),
        ("resize:3.5", "its form is 'resize:<size>'"),
        ("resize:3,4", "its form is 'resize:<size>'"),
        ("flip:1", "its form is 'flip'"),
        ("mixup", "its form is 'mixup:<alpha>,<probability=1.0>'"),
        ("resize:0", "at least 1"),
        ("mixup:-1", "alpha is positive"),
        ("randaugment:2,11", "0 to 10"),
        ("randaugment:0,1", "1 or more"),
        ("random_erasing:2", "(0, 1]"),
        ("random_rotate:-3", "positive"),
        ("random_shift:0", "positive"),
        ("random_resized_crop:8,0", "(0, 1]"),
        ("decode:2", "1 or 3"),
    ],
)
def test_wrong_texts_are_one_line(text, said):
    with pytest.raises(ConfigError) as caught:
        parse.chain((text,), True, "data.transforms")
    assert str(caught.value).startswith(f"data.transforms holds {text!r}")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_random_ones_are_refused_in_evaluation():
    random = {n for n in NAMES if parse.one(text_of(n), "test").train_only}
    assert random == {
        *("random_resized_crop", "flip", "pad_crop", "random_shift", "random_rotate"),
        *("randaugment", "mixup", "cutmix", "random_erasing"),
    }
    for name in NAMES:
        if name in random:
            with pytest.raises(ConfigError, match="random"):
                parse.chain((text_of(name),), False, "data.eval_transforms")
        else:
            parse.chain((text_of(name),), False, "data.eval_transforms")
