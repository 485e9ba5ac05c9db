"""tools.reproduce on planted rows: order, budget, failures, interruption, imports."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tools.conftest import values_of
from tests.tools.planted import finish, row
from tools import joining, outcomes, reproduce, rerunning, resolve
from training import config as configs
from training.contracts import ConfigError, DiskError, InterruptedRunError, PreemptedError


def test_the_cheapest_come_first_and_each_leaves_a_record(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("vision/slow", seconds=20.0), row("vision/quick", ()), row("text/cheap")]
    rows[1] = dataclasses.replace(rows[1], record=None)
    ran = planted(rows, {})
    assert reproduce.run(["--out=found", "--seeds=2"]) == 0
    # A config without a record is taken for a dear one.
    assert ran == [
        f"{s} {i}" for s in ("text/cheap", "vision/slow", "vision/quick") for i in (0, 1)
    ]
    record = json.loads(Path("found/vision/quick.json").read_text())
    assert record["values"] == {"0": 0.9, "1": 0.91} and record["mean"] == pytest.approx(0.905)
    assert record["verdict"]["word"] == "OWN" and record["runs"][0]["commit"] == "abc"
    assert [p[0] for p in record["curves"]["accuracy"]["val"]] == [50, 100]
    assert Path("found/RESULTS.md").exists() and Path("found/index.html").exists()
    assert "vision/quick" in capsys.readouterr().out


def test_what_does_not_fit_the_budget_is_listed(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = planted([row("vision/dear", seconds=500.0), row("vision/cheap", seconds=5.0)], {})
    assert reproduce.run(["--out=found", "--budget=60s", "--seeds=1"]) == 0
    assert ran == ["vision/cheap 0"]
    # One of the five repeats that took 500 s.
    assert "vision/dear: not run: takes about 1 min 40 s" in capsys.readouterr().out


def test_a_run_that_takes_longer_is_asked_to_save_and_goes_on_another_time(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("vision/late", seconds=0.5), row("vision/next", seconds=0.6)]
    ran = planted(rows, {"vision/late": "import time; time.sleep(60)"})
    begun = time.monotonic()
    assert reproduce.run(["--out=found", "--budget=1s", "--seeds=1"]) == 0
    assert time.monotonic() - begun < 30 and ran == []
    assert "vision/late: not finished in its time" in capsys.readouterr().out


def test_a_failing_row_stops_no_other_and_shows_its_logs_end(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import sys; print('the disk is on fire', file=sys.stderr); sys.exit(4)"
    ran = planted([row("vision/bad", seconds=1.0), row("vision/good")], {"vision/bad": script})
    assert reproduce.run(["--out=found", "--seeds=1"]) == 5
    assert ran == ["vision/good 0"]
    printed = capsys.readouterr()
    assert "exit code 4" in printed.err and "the disk is on fire" in printed.err
    assert "vision/bad: FAILED" in printed.out


@pytest.mark.parametrize(
    ("now", "then", "message"),
    [
        ("0.9]", "null]", "test/accuracy is no number"),
        ('"seeds"', '"sedes"', "result.json is damaged: its 'seeds'"),
        ("[0.9]", '"high"', "result.json is damaged: its 'values'"),
        ("[0.9]", "[0.9, 0.8]", "result.json is damaged: 1 seeds of 2 values"),
    ],
)
def test_a_row_without_a_number_stops_no_other(
    planted: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    now: str,
    then: str,
    message: str,
) -> None:
    lost = row("vision/lost", (), seconds=1.0)
    planted([lost, row("vision/good", ())], {})
    finish(Path("runs/vision/lost-0"), dict(lost.values), [0.9])
    result = Path("runs/vision/lost-0/result.json")
    result.write_text(result.read_text().replace(now, then))
    assert reproduce.run(["--out=found", "--seeds=1"]) == 5
    printed = capsys.readouterr().out
    assert "vision/lost: FAILED" in printed and message in printed
    assert Path("found/vision/good.json").exists()


@pytest.mark.parametrize(("code", "error"), [(75, PreemptedError), (130, InterruptedRunError)])
def test_what_was_stopped_is_stopped_and_goes_on(
    planted: Callable[..., list[str]], code: int, error: type[Exception]
) -> None:
    scripts = {"vision/one": f"raise SystemExit({code})"}
    ran = planted([row("vision/one", seconds=1.0), row("vision/two")], scripts)
    with pytest.raises(error, match="same command goes on"):
        reproduce.run(["--out=found", "--seeds=1"])
    assert ran == []
    scripts.clear()
    assert reproduce.run(["--out=found", "--seeds=1"]) == 0
    assert ran == ["vision/one 0", "vision/two 0"]


def test_ctrl_c_reaches_the_run_once(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('saving'), sys.exit(130)))\n"
        "print('begun', flush=True)\ntime.sleep(60)"
    )
    run = rerunning.Run((sys.executable, "-c", script), tmp_path / "run")

    def interrupt() -> None:
        while "begun" not in (run.log.read_text() if run.log.exists() else "").splitlines():
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    with rerunning.Bar(1) as bar, pytest.raises(InterruptedRunError):
        threading.Thread(target=interrupt).start()
        rerunning.execute(run, bar)
    assert run.log.read_text().splitlines()[-1:] == ["saving"]


def test_a_run_ends_with_a_reproduction_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves a program no word; its run is asked to save all the same."""
    script = (
        "import pathlib, signal, sys, time\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        "signal.signal(signal.SIGTERM, lambda *_: (mark.write_text('saved'), sys.exit(75)))\n"
        "print('begun', flush=True)\ntime.sleep(60)"
    )
    program = (
        "import pathlib, sys\nfrom tools import rerunning\n"
        "run = rerunning.Run((sys.executable, *sys.argv[2:]), pathlib.Path(sys.argv[1]))\n"
        "rerunning.execute(run, rerunning.Bar(1))"
    )
    mark, workdir = tmp_path / "mark", tmp_path / "run"
    arguments = [sys.executable, "-c", program, str(workdir), "-c", script, str(mark)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL) as killed:
        log = tmp_path / "run.log"
        while "begun" not in (log.read_text() if log.exists() else "").splitlines():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
    until = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert mark.read_text() == "saved"


def test_a_folder_in_which_a_run_lives_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerunning, "POLL_SECONDS", 0.02)
    run = rerunning.Run((sys.executable, "-c", "print('done')"), tmp_path / "run")
    lives = iter([True, True, False])
    monkeypatch.setattr(rerunning.leash, "busy", lambda workdir: next(lives))
    rerunning.execute(run, rerunning.Bar(1))
    assert run.log.read_text().endswith("done\n")
    assert capsys.readouterr().err.count("another run is in it: waiting") == 1
    monkeypatch.setattr(rerunning.leash, "busy", lambda workdir: True)
    with pytest.raises(rerunning.OutOfBudgetError):
        rerunning.execute(run, rerunning.Bar(1), time.monotonic())


def test_what_is_done_is_not_counted_against_the_budget(tmp_path: Path) -> None:
    runs = [rerunning.Run(("python",), tmp_path / name) for name in ("done", "half", "new")]
    for run in runs[:2]:
        run.workdir.mkdir()
    (runs[0].workdir / "result.json").touch()
    runs[1].log.write_text("12:00:00 step 50/100  train  loss 0.5\n")
    # Five repeats took 10 s.
    assert rerunning.remaining(row(), runs) == pytest.approx(2.0 * 1.5)
    many = row(overrides=("train.ensemble=5",))
    some = rerunning.Run(("python", "--config.train.ensemble=2"), tmp_path / "some")
    assert rerunning.remaining(many, [some]) == pytest.approx(4.0)
    assert rerunning.remaining(many, runs[2:]) == pytest.approx(10.0)
    # Without a record it is guessed, of the whole and not of each member.
    unknown = dataclasses.replace(many, record=None, guess=20.0)
    assert rerunning.remaining(unknown, runs[2:]) == pytest.approx(20.0)
    assert rerunning.remaining(unknown, [some]) == pytest.approx(8.0)


def test_a_record_of_more_repeats_is_kept(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    planted([row("vision/known")], {})
    assert reproduce.run(["--out=found", "--seeds=2"]) == 0
    assert len(json.loads(Path("found/vision/known.json").read_text())["values"]) == 5
    assert "2 repeats, and the record has 5, which is kept" in capsys.readouterr().err


def test_what_is_not_run_here_is_run_where_it_is_named(
    planted: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = planted([row("vision/big", (), not_run_here="needs a pod")], {})
    assert reproduce.run(["--out=found", "--seeds=1"]) == 0
    assert ran == [] and "not run here: needs a pod" in capsys.readouterr().out
    assert reproduce.run(["big", "--out=found", "--seeds=1"]) == 0
    assert ran == ["vision/big 0"]


def test_runs_are_those_that_train_py_would_make() -> None:
    (one, two) = rerunning.runs(row(), 2)
    assert one.command[2:4] == ("--config=configs/vision/vit_digits.py", "--config.train.seed=0")
    fingerprint = configs.fingerprint(row(overrides=("train.seed=1",)).values)
    assert str(two.workdir) == f"runs/vision/vit_digits-{fingerprint}"
    ensemble = row(overrides=("train.ensemble=3",))
    assert len(rerunning.runs(ensemble, None)) == 1
    assert len(rerunning.runs(row(), None)) == 5


def test_progress_is_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("compiling\n")
    assert rerunning.progress(log) is None
    log.write_text(
        "12:00:00 step 10/200  train  loss 0.5  (1,234 examples/s, 3 s left)\n"
        "12:00:01 step 20/200  val  loss 0.4  (1,300 examples/s, 2 s left)\nsaving\n"
    )
    assert rerunning.progress(log) == (20, 200, "1,300 examples/s")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nothing_like_it"], "no such config"),
        (["--field=grpah"], "did you mean 'graph'"),
        (["--budget=soon"], "--budget=soon: a time such as 90s, 5m or 2h"),
        (["--seeds=0"], "--seeds=0: a whole number"),
        (["--seeds=\u00b2"], "a whole number"),
        (["--budget=0"], "--budget=0: a time such as"),
        (["--out="], "--out=: a folder"),
        (["--check", "--render"], "not allowed with"),
        (["--import=nowhere"], "nowhere holds no run"),
        (["--import="], "--import=: the folders"),
        (["--import=run,,other"], "--import=run,,other: the folders"),
        (["--render", "--field="], "--render takes no --field"),
        (["--import=run", "--seeds=2"], "--import takes no --seeds"),
        (["--check", "--seeds=2"], "--check takes no --seeds"),
        (["gcn_cora", "--render"], "--render takes no NAME"),
    ],
)
def test_a_users_mistake_is_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reproduce.run(argv)


def test_a_place_where_nothing_can_be_written_is_told_before_anything_runs(
    planted: Callable[..., list[str]], tmp_path: Path
) -> None:
    ran = planted([row("vision/one")], {})
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(DiskError, match="give another folder"):
            reproduce.run([f"--out={out}"])
    assert not ran


def test_a_record_of_fewer_members_can_be_imported_and_is_not_judged(
    planted: Callable[..., list[str]], tmp_path: Path
) -> None:
    stated = {"kind": "published", "value": 0.5, "verified": True}
    whole = row(values=(), overrides=("train.ensemble=20",), **stated)
    planted([whole], {})
    some = {**whole.values, "train": {**whole.values["train"], "ensemble": 10}}
    finish(tmp_path / "some", some, [0.9 + i / 1000 for i in range(10)])
    assert reproduce.run([f"--import={tmp_path / 'some'}", "--out=found"]) == 0
    record = json.loads(Path("found/vision/vit_digits.json").read_text())
    assert record["resolved"]["train"]["ensemble"] == 10
    assert record["verdict"]["word"] == "NOT JUDGED"
    assert "10 of at least 20 repeats" in record["verdict"]["sentence"]


def test_the_printed_table_has_the_number_of_the_protocol_beside_it() -> None:
    flattering = row("vision/chosen", (0.9, 0.91))
    harder = row("vision/chosen:validated", (0.8, 0.81))
    found = reproduce.table([reproduce.Outcome(flattering)], [flattering, harder])
    (cell,) = found.columns[3].cells
    assert "90.50 %" in str(cell) and "validated 80.50 %" in str(cell)


def test_curves_of_other_steps_are_not_joined() -> None:
    old = {"loss": {"train": [[20, 1.0, None], [40, 0.5, None], [60, 0.4, None]]}}
    new = {"loss": {"train": [[13, 1.0, None], [40, 0.7, None], [67, 0.4, None]]}}
    assert joining._curves(old, new, (1, 1)) == {}


def test_budgets() -> None:
    assert [reproduce.seconds(text) for text in ("90s", "5m", "2h", "1.5", None)] == [
        90.0, 300.0, 7200.0, 90.0, None,
    ]  # fmt: skip


def test_finished_runs_become_a_record(planted: Callable[..., list[str]], tmp_path: Path) -> None:
    found = row("vision/vit_digits", ())
    planted([found], {})
    for seed in range(3):
        finish(tmp_path / f"run{seed}", dict(found.values), [0.9 + seed / 100], seed)
    runs = ",".join(str(tmp_path / f"run{seed}") for seed in range(3))
    assert reproduce.run([f"--import={runs}", "--out=found"]) == 0
    record = json.loads(Path("found/vision/vit_digits.json").read_text())
    assert record["values"] == {"0": 0.9, "1": 0.91, "2": 0.92} and record["seconds"] == 30.0
    assert record["curves"]["accuracy"]["val"][0][2] > 0
    with pytest.raises(ConfigError, match="2 repeats, and the record has 3"):
        reproduce.run([f"--import={tmp_path}/run0,{tmp_path}/run1", "--out=found"])


def test_new_seeds_join_the_record(planted: Callable[..., list[str]], tmp_path: Path) -> None:
    found = row("vision/vit_digits", ())
    planted([found], {})
    folders = [str(tmp_path / f"run{seed}") for seed in range(4)]
    for seed, folder in enumerate(folders):
        finish(Path(folder), dict(found.values), [0.9 + seed**2 / 100], seed)

    def record(*groups: list[str], out: str) -> dict[str, Any]:
        for group in groups:
            assert reproduce.run([f"--import={','.join(group)}", f"--out={out}"]) == 0
        return json.loads(Path(out, "vision/vit_digits.json").read_text())

    at_once = record(folders, out="one")
    for number, groups in enumerate(((folders[:2], folders[2:]), (folders[:1], folders[1:]))):
        by_parts = record(*groups, out=f"parts{number}")
        for key in ("values", "mean", "seconds", "steps", "runs", "verdict"):
            assert by_parts[key] == at_once[key], key
        for name in ("loss", "accuracy"):
            one, other = (np.array(f["curves"][name]["val"]) for f in (by_parts, at_once))
            np.testing.assert_allclose(one[:, :2], other[:, :2], rtol=1e-3)
            # A record's means have four digits.
            np.testing.assert_allclose(one[:, 2], other[:, 2], rtol=0.05)
        assert by_parts["scalars"] == pytest.approx(at_once["scalars"])
        assert by_parts["interval"] == pytest.approx(at_once["interval"])
    # A seed again is a new measurement, which must not have fewer repeats.
    with pytest.raises(ConfigError, match="1 repeats, and the record has 4"):
        reproduce.run([f"--import={folders[0]}", "--out=one"])


def test_other_runs_are_refused(planted: Callable[..., list[str]], tmp_path: Path) -> None:
    found = row("vision/vit_digits", ())
    planted([found], {})
    other = row(overrides=("model.dropout_rate=0.9",))
    finish(tmp_path / "other", dict(other.values), [0.9])
    finish(tmp_path / "twice", dict(found.values), [0.9])
    finish(tmp_path / "again", dict(found.values), [0.9])
    finish(tmp_path / "begun", dict(found.values), [0.9])
    (tmp_path / "begun" / "result.json").unlink()
    finish(tmp_path / "smoke", values_of(real=False), [0.9])
    for folder, message in (
        (str(tmp_path / "other"), "of another config.*model.dropout_rate: 0.9 there, 0.1 now"),
        (f"{tmp_path}/twice,{tmp_path}/again", "seed 0 is in another of these runs"),
        (str(tmp_path / "begun"), "is not finished"),
        (str(tmp_path / "smoke"), "is a smoke run"),
    ):
        with pytest.raises(ConfigError, match=message):
            reproduce.run([f"--import={folder}", "--out=found"])


def test_what_came_since_with_its_default_changes_nothing() -> None:
    values = json.loads(json.dumps(configs.plain(values_of())))
    older = {**values, "train": {**values["train"]}, "baseline": {**values["baseline"]}}
    for section, key in (("train", "watchdog_minutes"), ("baseline", "reduced")):
        del older[section][key]
    older["train"]["seed"] = 7
    assert outcomes.changed(older, resolve.complete(values)) == {}
    older["baseline"]["metric"] = "test/loss"
    assert list(outcomes.changed(older, resolve.complete(values))) == ["baseline.metric"]


def test_another_folder_knows_what_the_repositorys_rows_cost(tmp_path: Path) -> None:
    cost = {r.spec: r.seconds for r in outcomes.rows(tmp_path)}
    assert cost["graph/gcn_karate"] < 100 < outcomes.UNKNOWN_SECONDS == cost["vision/vit_folder"]
