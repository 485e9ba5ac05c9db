"""tools.predict: images in, labels and probabilities out, as evaluation would have them."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import training
from data.pipelines import examples as pipeline
from data.sources import folder
from data.sources.common.small_images import SmallImages
from tools import images, parts, pipelines, predict
from training.compiled import evaluation_key
from training.contracts import ConfigError, DataError, Info


def evaluated(trained) -> np.ndarray:
    """Probabilities [n, k] of the test split, by the pipeline that evaluation reads."""
    restored = parts.restore(str(trained.folder), "tested")
    compiled, state, rows = restored.compiled, restored.state, []
    for index, batch in enumerate(restored.parts.pipeline("test").batches(0)):
        placed = compiled.put(batch)
        found = compiled.predict(state, placed, evaluation_key(state, "evaluate", index))
        rows.append(training.gather(found["probabilities"], placed["mask"]))
    return np.concatenate(rows)


def test_png_files_of_the_test_split_get_its_probabilities_exactly(trained, pictures, printed):
    found = printed(predict.run, "--workdir", trained.folder, "--inputs", pictures, "--top=10")
    expected = evaluated(trained)
    assert [row["image"] for row in found["predictions"]] == [
        str(p) for p in sorted(pictures.iterdir())
    ]
    for row, probabilities in zip(found["predictions"], expected, strict=True):
        # A label of the digits is its number.
        assert [p["probability"] for p in row["top"]] == sorted(
            probabilities.tolist(), reverse=True
        )
        assert probabilities[int(row["label"])] == row["probability"] == probabilities.max()


def test_images_come_in_groups_as_one(trained, pictures, printed, monkeypatch):
    argv = ("--workdir", trained.folder, "--inputs", str(pictures / "00??.png"))
    at_once = printed(predict.run, *argv)["predictions"]
    monkeypatch.setattr(predict, "AT_ONCE", 1)
    assert len(at_once) == 100
    assert printed(predict.run, *argv)["predictions"] == at_once


def test_an_image_that_does_not_decode_is_named_and_stops_no_other(
    trained, pictures, tmp_path, capsys
):
    for name in ("a.png", "c.png"):
        shutil.copy(pictures / "0000.png", tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no image")
    whole = (pictures / "0001.png").read_bytes()
    (tmp_path / "d.png").write_bytes(whole[: len(whole) // 2])
    argv = ["--workdir", str(trained.folder), "--inputs", str(tmp_path), "--json"]
    assert predict.run(argv) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [row["image"][-5:] for row in found["predictions"]] == ["a.png", "c.png"]
    assert found["predictions"][0]["top"] == found["predictions"][1]["top"]
    assert [row["image"][-5:] for row in found["undecodable"]] == ["b.png", "d.png"]
    assert "b.png does not decode: not an image" in captured.err
    assert "2 of 4 images do not decode" in captured.err


def test_nothing_readable_is_missing_data(trained, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 images"):
        predict.run(["--workdir", str(trained.folder), "--inputs", str(tmp_path)])


def test_csv_has_a_row_an_image(trained, pictures, tmp_path, capsys):
    output = tmp_path / "found.csv"
    files = [str(pictures / f"000{i}.png") for i in range(3)]
    argv = ["--workdir", str(trained.folder), "--inputs", *files, "--top=2"]
    assert predict.run([*argv, "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(output.open()))
    assert [row["image"] for row in rows] == files
    assert list(rows[0]) == ["image", "label", "probability", "label_2", "probability_2"]
    assert all(float(row["probability"]) >= float(row["probability_2"]) for row in rows)
    assert predict.run(argv) == 0
    assert files[1] in capsys.readouterr().out


def test_an_ensemble_answers_with_its_members_mean(ensemble, pictures, printed):
    file = pictures / "0000.png"
    found = printed(predict.run, "--workdir", ensemble.folder, "--inputs", file, "--top=10")
    restored = parts.restore(str(ensemble.folder), "tested")
    config, source = pipelines.build_source(restored.parts.values)
    given = images.Images(config, source)
    batch = next(given.pipeline([given.read(file)]).batches(0))
    compiled, state = restored.compiled, restored.state
    arrays = compiled.predict(state, batch, evaluation_key(state, "evaluate", 0))
    mean = np.asarray(arrays["probabilities"])[:, 0].mean(0)
    top = found["predictions"][0]["top"]
    assert {p["label"]: p["probability"] for p in top} == {
        str(k): float(p) for k, p in enumerate(mean)
    }


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_any_kind_of_image_becomes_the_source_s(mode, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 30), 128 * 256, np.uint16))
    else:
        image = Image.new("RGB", (30, 20), (128, 128, 128)).convert(mode)
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    image.save(path)
    config, info = pipeline.Config(), Info({"test": 1})
    for channels in (1, 3):
        reader = images.Images(config, SmallImages("any", "1", (), (8, 8, channels), info))
        array = reader.read(path)
        assert array.shape == (8, 8, channels)
        assert array.dtype == np.uint8
        if mode != "1":
            assert abs(int(array.mean()) - 128) <= 6


def test_files_of_a_decoding_pipeline_meet_the_decoder_of_training(tmp_path):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    for name in ("photo.jpg", "photo.tiff"):
        photo.save(tmp_path / name)
    source = folder.build(folder.Config())
    config = pipeline.Config(batch_size=2, eval_transforms=("decode", "resize:16", "to_float"))
    reader = images.Images(config, source)
    jpeg, tiff = (reader.read(tmp_path / name) for name in ("photo.jpg", "photo.tiff"))
    assert jpeg == (tmp_path / "photo.jpg").read_bytes()
    with Image.open(io.BytesIO(tiff)) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(photo))
    batches = list(reader.pipeline([jpeg, tiff, jpeg]).batches(0))
    assert [b["mask"].tolist() for b in batches] == [[True, True], [True, False]]
    assert batches[0]["image"].shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(batches[0]["image"][0], batches[1]["image"][0])
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    with pytest.raises(images.UndecodableError, match="not an image"):
        reader.read(tmp_path / "bad.jpg")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--inputs", "nowhere/*.png"], "no file, folder or pattern"),
        (["--inputs", "configs"], "a folder without images"),
        (["--inputs", "Makefile", "--top=0"], "--top=0"),
        (["--inputs", "Makefile", "--checkpoint=7"], "it must be tested"),
    ],
)
def test_a_wrong_argument_is_one_line(trained, argv, message):
    with pytest.raises(ConfigError, match=message):
        predict.run(["--workdir", str(trained.folder), *argv])


@pytest.mark.parametrize("output", ["no/such/folder/x.csv", "."])
def test_an_output_that_cannot_be_written_is_said_to_be_one(
    output, trained, pictures, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--output=.* cannot be written"):
        predict.run(
            [
                f"--workdir={trained.folder}",
                f"--inputs={pictures / '0000.png'}",
                f"--output={output}",
            ]
        )


def test_a_pattern_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a pattern"):
        images.find([str(tmp_path / "**z")])
