"""tools.compare: runs by config, with the interval over their seeds."""

import json

import numpy as np
import pytest

from tests.tools.conftest import values_of
from tools import compare
from training import results
from training.contracts import ConfigError


def make(folder, seed, value, seconds=10.0, overrides=(), direction="max", status="done"):
    """A run's folder as `fit` leaves it, of a member or of several."""
    values = values_of(f"train.seed={seed}", f"baseline.direction={direction}", *overrides)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values))
    lines = [{"step": step, "split": "train", "loss": 1.0} for step in (3, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if status == "done":
        several = isinstance(value, list)
        result = {
            "status": "done",
            "metric": "test/accuracy",
            "values": value if several else [value],
            "seeds": [f"{seed}.{i}" for i in range(len(value))] if several else [seed],
            "seconds": seconds,
            "baseline": values["baseline"],
        }
        (folder / "result.json").write_text(json.dumps(result))
    return str(folder)


def test_runs_that_differ_in_their_seed_are_one_row(tmp_path, printed):
    values = [0.96, 0.98, 0.97]
    runs = [make(tmp_path / str(s), s, v, seconds=10 + s) for s, v in enumerate(values)]
    (group,) = printed(compare.run, *runs)["groups"]
    assert group["n"] == 3
    assert group["mean"] == pytest.approx(0.97)
    assert tuple(group["interval"]) == results.interval(values)
    # 0.97 +- t(.975, 2) * 0.01 / sqrt(3)
    np.testing.assert_allclose(group["interval"], [0.97 - 0.024841, 0.97 + 0.024841], atol=1e-6)
    assert group["seconds"] == 11.0
    assert group["config"] == {}
    assert group["runs"] == runs


@pytest.mark.parametrize(("direction", "best_first"), [("max", [0.9, 0.8]), ("min", [0.8, 0.9])])
def test_groups_are_sorted_by_the_baseline_s_direction(tmp_path, printed, direction, best_first):
    runs = [
        make(tmp_path / "a", 0, 0.8, overrides=("model.width=16",), direction=direction),
        make(tmp_path / "b", 0, 0.9, overrides=("model.width=32",), direction=direction),
    ]
    groups = printed(compare.run, *runs)["groups"]
    assert [g["mean"] for g in groups] == best_first
    assert {g["mean"]: g["config"] for g in groups} == {
        0.8: {"model.width": 16},
        0.9: {"model.width": 32},
    }


def test_the_members_of_an_ensemble_are_repeats(tmp_path, printed):
    runs = [make(tmp_path / str(s), s, [0.9, 0.8], overrides=("train.ensemble=2",)) for s in (0, 1)]
    (group,) = printed(compare.run, *runs)["groups"]
    assert group["n"] == 4
    assert list(group["values"]) == ["0.0", "0.1", "1.0", "1.1"]


def test_a_seed_counts_once(tmp_path, printed):
    runs = [make(tmp_path / name, 5, 0.9) for name in ("a", "b")]
    found = printed(compare.run, *runs)
    assert found["groups"][0]["n"] == 1
    assert found["groups"][0]["interval"] is None
    assert found["notes"] == [f"{runs[1]}: seed 5 counts already, in {runs[0]}"]


def test_a_run_without_a_number_has_no_mean(tmp_path, printed):
    runs = [make(tmp_path / "a", 0, None), make(tmp_path / "b", 1, 0.9)]
    runs.append(make(tmp_path / "c", 1, 0.1, overrides=("model.width=32",)))
    groups = printed(compare.run, *runs)["groups"]
    assert [g["mean"] for g in groups] == [0.1, None]
    assert groups[1]["interval"] is None


def test_an_unfinished_run_is_named_with_its_step(tmp_path, capsys):
    unfinished = make(tmp_path / "a", 0, None, status="running")
    done = make(tmp_path / "b", 1, 0.9123, overrides=("model.width=16",))
    assert compare.run([unfinished, done + "/", done]) == 0
    out = capsys.readouterr().out
    assert f"{unfinished}: not done, at step 6 of 12" in out
    assert "91.23 %" in out
    assert "counts already" not in out


def test_the_real_run_is_understood(trained, capsys):
    assert compare.run([str(trained.folder)]) == 0
    assert "vision/vit_digits" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no run: there is no config"):
        compare.run([str(tmp_path)])
