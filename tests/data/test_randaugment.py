"""RandAugment's operations against Pillow's, and the draw of them."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from data.runtime import tensorflow
from data.transforms import randaugment

NAMES = (
    *("autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast"),
    *("brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y", "cutout"),
    "solarize_add",
)
IMAGE = np.random.default_rng(1).integers(30, 220, (12, 10, 3), np.uint8)


def result(name: str, strength: float = 0.5, sign: float = 1.0, image=IMAGE) -> np.ndarray:
    tf = tensorflow()
    operations = randaugment._operations(tf, tf.constant(image), strength, sign, 0.5, 0.5)
    assert len(operations) == len(NAMES)
    found = operations[NAMES.index(name)]().numpy()
    assert found.dtype == np.uint8 and found.shape == image.shape
    return found


@pytest.mark.parametrize(
    ("name", "oracle", "tolerance"),
    [
        ("autocontrast", ImageOps.autocontrast, 1),
        ("invert", ImageOps.invert, 0),
        ("posterize", lambda i: ImageOps.posterize(i, 6), 0),
        ("solarize", lambda i: ImageOps.solarize(i, 128), 0),
        ("color", lambda i: ImageEnhance.Color(i).enhance(1.45), 2),
        ("contrast", lambda i: ImageEnhance.Contrast(i).enhance(1.45), 2),
        ("brightness", lambda i: ImageEnhance.Brightness(i).enhance(1.45), 1),
        ("sharpness", lambda i: ImageEnhance.Sharpness(i).enhance(1.45), 2),
    ],
)
def test_against_pillow(name, oracle, tolerance):
    expected = np.asarray(oracle(Image.fromarray(IMAGE))).astype(int)
    assert np.abs(result(name).astype(int) - expected).max() <= tolerance


def test_equalize_makes_the_histogram_flat():
    skewed = (np.linspace(0, 1, 256).reshape(16, 16, 1) ** 3 * 200).astype(np.uint8)
    flat = result("equalize", image=skewed)
    assert flat.min() == 0 and flat.max() == 255
    assert abs(np.median(flat.astype(int)) - 128) < 40 < abs(np.median(skewed.astype(int)) - 128)
    blank = np.full((4, 4, 3), 9, np.uint8)
    assert np.array_equal(result("equalize", image=blank), blank)
    assert np.array_equal(result("autocontrast", image=blank), blank)


def test_moves_fill_with_grey_and_follow_their_sign():
    shift = round(10 * 100 / 331 * 0.5 + 0.5) - 1
    right = result("translate_x", sign=-1.0)
    left = result("translate_x", sign=1.0)
    assert np.array_equal(left[:, : 10 - 2], IMAGE[:, 2:]) or shift != 1
    assert (right[:, 0] == 128).all() and (left[:, -1] == 128).all()
    assert not np.array_equal(result("rotate", sign=1.0), result("rotate", sign=-1.0))
    assert not np.array_equal(result("shear_x"), result("shear_y"))


def test_cutout_and_solarize_add():
    cut = result("cutout", strength=1.0)
    assert (cut[6, 5] == 128).all() and np.array_equal(cut[0], IMAGE[0])
    added = result("solarize_add")
    assert np.array_equal(added, np.where(IMAGE < 128, IMAGE + 55, IMAGE))


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("autocontrast", "equalize", "invert")]
)
def test_no_strength_changes_nothing(name):
    assert np.array_equal(result(name, strength=0.0), IMAGE)


def test_grey_images():
    grey = IMAGE[..., :1]
    for name in NAMES:
        result(name, image=grey)
    assert np.array_equal(result("color", image=grey), grey)
