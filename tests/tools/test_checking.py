"""--check: a rerun is held against the record, and a difference is exit code 5."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.planted import finish, row
from tools import checking, reproduce, rerunning
from training import config as configs
from training.contracts import ConfigError, InterruptedRunError


def test_a_rerun_agrees_within_the_rule() -> None:
    """s is .01581 and t(.9995, 4) 8.610: one new value may be off by .1491."""
    known = row()
    assert checking.compare(known, [0.92 + 0.149])[0]
    off, line = checking.compare(known, [0.92 - 0.150])
    assert not off and "DIFFERS" in line and "allowed 15 points" in line
    assert not checking.compare(known, [None])[0]


def test_a_rerun_of_an_ensemble_has_ten_members_and_of_folds_all() -> None:
    many = row(overrides=("train.ensemble=100",), values=(0.9, 0.91) * 50, seconds=100.0)
    assert checking.repeats(many) == 10 and checking.cost(many) == pytest.approx(10.0)
    folds = row(overrides=("train.ensemble=12",), spread={"kind": "folds", "n": 12, "value": 0.1})
    assert checking.repeats(folds) == 12
    assert checking.cost(row(seconds=50.0)) == pytest.approx(10.0)


def test_check_says_no_with_5(
    planted: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A number that is off, a config that is no longer the record's, and a run that fails."""
    off = row("vision/off", (0.5, 0.5001, 0.5002))
    other = row("vision/other")
    record = {**other.record, "resolved": row(overrides=("model.dropout_rate=0.5",)).values}
    other = dataclasses.replace(other, record=configs.plain(record))
    rows = [row("vision/same"), off, other, row("vision/bad"), row("vision/dear", seconds=9e9)]
    planted(rows, {"vision/bad": "raise SystemExit(3)"})

    def read(run: rerunning.Run, *args: Any) -> None:
        if "bad" in str(run.workdir):
            raise rerunning.RunError("exit code 3")
        finish(run.workdir, dict(rows[0].values), [0.92])

    monkeypatch.setattr(rerunning, "execute", read)
    assert reproduce.run(["--check", "same", "--out=found"]) == 0
    assert reproduce.run(["--check", "--out=found"]) == 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 4 rows agree with their records"
    text = "\n".join(lines)
    assert "vision/off: DIFFERS, test accuracy 92.00 % by 1 new repeats" in text
    assert "vision/other: agrees" in text and "model.dropout_rate: 0.5 there, 0.1 now" in text
    assert "vision/bad: FAILED, exit code 3" in text
    assert not Path("found").exists()


def test_what_is_named_and_cannot_be_checked_is_told(
    planted: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [row("vision/same"), row("vision/single", (0.9,)), row("vision/dear", seconds=9e9)]
    planted(rows, {})
    monkeypatch.setattr(
        rerunning, "execute", lambda run, *_: finish(run.workdir, dict(rows[0].values), [0.92])
    )
    assert reproduce.run(["--check", "same", "single", "dear", "--out=found"]) == 0
    said = capsys.readouterr().err
    assert "vision/single: left out, has a record of one value" in said
    assert "vision/dear: left out, takes longer than is left: see --budget" in said
    with pytest.raises(ConfigError, match="vision/single has a record of one value"):
        reproduce.run(["--check", "single", "--out=found"])


def test_a_check_that_is_stopped_keeps_nothing(
    planted: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted([row("vision/same")], {})

    def stop(run: rerunning.Run, *args: Any) -> None:
        raise InterruptedRunError("stopped, and saved: the same command goes on")

    monkeypatch.setattr(rerunning, "execute", stop)
    with pytest.raises(InterruptedRunError, match="nothing of a check is kept"):
        reproduce.run(["--check", "--out=found"])


@pytest.mark.raw
@pytest.mark.timeout(900)
def test_the_cheapest_rows_still_give_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.run(["--check", "graph/gcn_karate", "graph/gcn_cora"]) == 0
    assert "2 of 2 rows agree" in capsys.readouterr().out
