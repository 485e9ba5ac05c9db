"""What a record must hold, and what is made of its values again."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.planted import row
from tools import outcomes, recorded
from training.contracts import ConfigError


def written(path: Path, **changes: Any) -> Path:
    record = row().record
    assert record is not None
    path.write_text(json.dumps({**record, **changes}))
    return path


def test_mean_and_interval_are_those_of_the_values(tmp_path: Path) -> None:
    """.92 +- t(.975, 4) .015811 / sqrt(5), by hand."""
    path = written(tmp_path / "record.json", mean=0.99, interval=[0.98, 1.0])
    found = recorded.read(path)
    assert found is not None
    assert found["mean"] == pytest.approx(0.92)
    assert found["interval"] == pytest.approx([0.92 - 0.019632, 0.92 + 0.019632], abs=1e-5)


def test_rounding_of_another_machine_changes_nothing(tmp_path: Path) -> None:
    low, high = recorded.summary([0.9, 0.91, 0.92, 0.93, 0.94])["interval"]
    kept = [low * (1 + 1e-14), high]
    found = recorded.read(written(tmp_path / "record.json", mean=0.92, interval=kept))
    assert found is not None and found["interval"] == kept and found["mean"] == 0.92


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {}}, "its 'values' is '{}'"),
        ({"values": {"0": "high"}}, "its 'values'"),
        ({"values": {"0": True}}, "its 'values'"),
        ({"values": {"0": float("nan")}}, "its 'values'"),
        ({"values": [0.9]}, r"its 'values' is '\[0.9\]'"),
        ({"seconds": "long"}, "its 'seconds' is 'long'"),
        ({"seconds": -1}, "its 'seconds' is '-1'"),
        ({"runs": None}, "its 'runs' is 'None'"),
        ({"runs": []}, "its 'runs'"),
        ({"runs": [{}]}, "its 'runs'"),
        ({"trivial": {}}, "its 'trivial'"),
        ({"scalars": {"a": "y"}}, "its 'scalars'"),
        ({"curves": {"loss": []}}, "its 'curves'"),
        ({"curves": {"loss": {"train": []}}}, "its 'curves'"),
        ({"curves": {"loss": {"train": [["x"]]}}}, "its 'curves'"),
        ({"resolved": {}}, "its 'resolved'"),
        ({"metric": "val/loss"}, "its 'metric' is not its config's, 'test/accuracy'"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    path = written(tmp_path / "record.json", **changes)
    with pytest.raises(ConfigError, match=f"record.json is no record: .*{message}"):
        recorded.read(path)


@pytest.mark.parametrize(("text", "message"), [("{}", "has no 'values'"), ("[]", "no JSON object")])
def test_another_file_is_no_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("no JSON", "not a JSON")):
        recorded.read(path)


def test_a_folder_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no record"):
        recorded.read(tmp_path)
    assert recorded.read(tmp_path / "nothing") is None


def test_a_record_of_another_config_is_not_judged() -> None:
    """Five repeats of .92 reproduce .9; those of another dropout rate say nothing of it."""
    stated = {"kind": "published", "value": 0.9, "verified": True, "tolerance": 0.01}
    now = row(**stated)
    assert now.verdict.word == "REPRODUCED"
    other = outcomes.Row(now.spec, now.values, row(overrides=("model.dropout_rate=0.9",)).record)
    assert other.verdict.word == "NOT JUDGED"
    assert "model.dropout_rate: 0.9 there, 0.1 now" in other.verdict.sentence
