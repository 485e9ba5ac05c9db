"""From a config file and the command line's changes to all values of a run."""

import json

import pytest

from tools import find, resolve, shrinking
from training.config import differences
from training.contracts import ConfigError

DIGITS = "configs/vision/vit_digits.py"


@pytest.fixture(scope="module")
def values():
    return resolve.load_file(DIGITS)


def test_every_default_stands_in_the_resolved_config(values):
    full = resolve.resolve(values)
    assert full["train"]["ensemble"] == 1 and full["model"]["remat"] == "none"
    assert full["name"] == "vision/vit_digits" and full["smoke"] is False
    assert resolve.complete(full) == full, "resolving twice changes nothing"


def test_config_json_repeats_the_run(values, tmp_path):
    full = resolve.resolve(values, ["train.seed=7"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(full))
    assert resolve.resolve(resolve.load_file(str(path))) == full


def test_other_data_have_no_published_number_of_this_one():
    values = resolve.load_file("configs/graph/gcn_cora.py")
    other = ["data.source.dataset=citeseer"]
    stated, baseline = (resolve.resolve(values, o)["baseline"] for o in ([], other))
    assert stated["value"] == 0.815 and stated["kind"] == "published"
    assert baseline["value"] is None and baseline["kind"] == "own" and not baseline["source"]
    assert baseline["metric"] == stated["metric"]
    given = resolve.resolve(values, [*other, "baseline.value=0.703"])["baseline"]
    assert given == {**stated, "value": 0.703}
    same = resolve.resolve(values, ["data.source.dataset=cora"])["baseline"]
    other = resolve.resolve(values, ["data.source.name=karate"])["baseline"]
    assert same == stated and other["value"] is None


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("train.steps=100", ("train", "steps"), 100),
        ("optimizer.learning_rate=1e-2", ("optimizer", "learning_rate"), 0.01),
        ("optimizer.clip_norm=None", ("optimizer", "clip_norm"), None),
        ("optimizer.nesterov=true", ("optimizer", "nesterov"), True),
        ("train.select.metric=val/loss", ("train", "select", "metric"), "val/loss"),
        ("data.transforms=('flip','to_float')", ("data", "transforms"), ("flip", "to_float")),
        ("evaluators.0.every=50", ("evaluators", 0, "every"), 50),
        ("evaluators.2.options.bins=10", ("evaluators", 2, "options", "bins"), 10),
        ("train.ensemble=8", ("train", "ensemble"), 8),
        ("optimizer.multipliers.head=0.5", ("optimizer", "multipliers", "head"), 0.5),
        ("model.dtype=bfloat16", ("model", "dtype"), "bfloat16"),
        ("baseline.source=2022", ("baseline", "source"), "2022"),
    ],
)
def test_one_flag_changes_one_value(values, override, key, expected):
    before, after = resolve.resolve(values), resolve.resolve(values, [override])
    node = after
    for part in key:
        node = node[part]
    assert node == expected
    changed = override.partition("=")[0]
    assert all(k == changed or changed.startswith(k) for k in differences(before, after))


def test_a_part_of_another_name_starts_from_its_own_defaults(values):
    full = resolve.resolve(values, ["model.name=vision.cnn", "model.hidden=32"])
    assert full["model"]["name"] == "vision.cnn" and full["model"]["hidden"] == 32
    assert "patch_size" not in full["model"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=3", r"unknown key --config\.train\.step: did you mean 'steps'.* \(in train\)"),
        ("trian.steps=3", r"unknown key --config\.trian\.steps: did you mean .*train\.steps"),
        ("model.widht=3", r"did you mean 'width'.* \(in model\)"),
        ("train.steps=many", r"train\.steps is 'many'"),
        ("train.steps", r"write --config\.section\.key=value"),
        ("model.name=vision.vti", r"model\.name is 'vision\.vti': did you mean 'vision\.vit'"),
        ("data.source.name=digit", r"data\.source\.name is 'digit': did you mean 'digits'"),
        ("evaluators.9.every=3", r"unknown key --config\.evaluators\.9"),
        ("train.select=3", r"is a section: set one of its keys"),
        ("evaluators.1.every=10", r"reads the test split every 10 steps"),
    ],
)
def test_a_wrong_change_is_one_line_with_the_right_key(values, override, message):
    with pytest.raises(ConfigError, match=message):
        resolve.resolve(values, [override])


def test_unknown_sections_files_and_functions(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown section 'modle': did you mean 'model'"):
        resolve.complete({"modle": {}})
    with pytest.raises(ConfigError, match=r"does not exist: did you mean.*vit_digits"):
        resolve.load_file("configs/vision/vit_digit.py")
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ConfigError, match="no function get_config"):
        resolve.load_file(str(empty))


def test_smoke_shrinks_with_every_interval_different(values):
    full = resolve.resolve(values, smoke=True)
    train = full["train"]
    intervals = [train["steps"], train["log_every"], train["save_every"]]
    intervals += [e["every"] for e in full["evaluators"] if e["every"]]
    assert len(set(intervals)) == len(intervals)
    assert full["model"]["width"] == 16 and full["smoke"]
    assert resolve.resolve(full) == full, "a smoke run's config.json repeats the smoke run"


def test_smoke_begins_with_no_weights_but_those_of_the_command_line(values):
    there = {**values, "train": {**values["train"], "init_from": "weights/large"}}
    assert resolve.resolve(there, smoke=True)["train"]["init_from"] == ""
    small = resolve.resolve(there, ["train.init_from=weights/tiny"], smoke=True)
    assert small["train"]["init_from"] == "weights/tiny"
    assert resolve.resolve(small) == small


def test_smoke_halves_large_images_once():
    values = resolve.load_file("configs/vision/resnet50_imagenet.py")
    small = resolve.resolve(values, smoke=True)
    assert tuple(small["data"]["eval_transforms"]) == (
        "resize_small:128", "center_crop:112", "normalise",
    )  # fmt: skip
    again = resolve.resolve(small, smoke=True)
    assert again["data"]["eval_transforms"] == small["data"]["eval_transforms"]
    assert shrinking._halved("random_resized_crop:64,0.5") == "random_resized_crop:64,0.5"
    assert shrinking._halved("random_resized_crop:224,0.05") == "random_resized_crop:112,0.05"


def test_parts_are_found_by_their_path_alone():
    assert {"vision.vit", "vision.resnet", "vision.cnn"} <= set(find.names("model"))
    assert "supervised" in find.names("algorithm")
    assert not [n for s in find.FOLDERS for n in find.names(s) if "common" in n]
