"""tools.sweep: what may be searched, what a trial may see, and that no kill or failure ends it.

Most sweeps here run a stand-in for train.py, which writes a run's files at once; the last one
trains.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train
from tests.conftest import ROOT
from tools import command_line, resolve, space, studies, sweep, trials, unseen
from training.contracts import ConfigError, DataError, VerdictError

DIGITS = "--config=configs/vision/vit_digits.py"
SELECT = "--config.train.select.metric=val/accuracy"
RATE = "--search.optimizer.learning_rate=log:1e-4:1e-1"
DEPTH = "--search.model.depth=int:1:4"

# Validation is best at a learning rate of 0.01, and the test metric is its inverse.
STAND_IN = """
import json, math, os, pathlib, sys, time
options = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:])
values = json.loads(pathlib.Path(options["config"]).read_text())
assert not [e for e in values["evaluators"] if e["split"] == "test"], "a trial would test"
if values["model"]["depth"] == int(os.environ.get("FAILS", 0)):
    sys.exit(print("starting\\nerror: the loss is nan at step 3", file=sys.stderr) or 4)
if values["model"]["depth"] == int(os.environ.get("NO_DATA", 0)):
    sys.exit(print("error: digits are missing", file=sys.stderr) or 3)
folder = pathlib.Path(options["workdir"])
folder.mkdir(parents=True, exist_ok=True)
rate, seed = values["optimizer"]["learning_rate"], int(options["config.train.seed"])
value = 1 - abs(math.log10(rate) + 2) / 4 + seed / 100
with (folder / "metrics.jsonl").open("w") as file:
    for step in range(4, 13, 4):
        line = {"step": step, "split": "val", "accuracy": value * step / 12, "loss": 1.0}
        file.write(json.dumps(line) + "\\n")
        file.flush()
        time.sleep(float(os.environ.get("SECONDS", 0)) / 3)
result = {
    "metric": "test/accuracy", "value": 1 - value, "scalars": {"test/accuracy": 1 - value},
    "selected": {"metric": "val/accuracy", "value": value, "step": 12}, "seconds": 1.0,
    "status": "done",
}
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    monkeypatch.setattr(trials, "PROGRAM", str(path))
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.01)
    return path


def arguments(out, *more, trials=6, sampler="random"):
    """Of a sweep over the learning rate and the depth of the digits' smallest ViT."""
    searched = [a for a in more if a.startswith("--search.")] or [RATE, DEPTH]
    rest = [a for a in more if not a.startswith("--search.")]
    return [DIGITS, SELECT, "--smoke", f"--out={out}", f"--trials={trials}",
            f"--sampler={sampler}", *searched, *rest]  # fmt: skip


def read(out, storage="study.journal", name="vision/vit_digits"):
    """The trials of a sweep's storage, by number."""
    study = studies.imported().load_study(
        study_name=name, storage=studies._backend(studies.imported(), out / storage)
    )
    return study.trials


def drawn(out):
    return [t.params for t in read(out)]


@pytest.mark.parametrize(
    ("text", "kind", "examples"),
    [
        ("uniform:0:0.8", "uniform", (0.0, pytest.approx(0.8 / 2.71828, rel=1e-4), 0.8)),
        ("log:1e-4:1e-1", "log", (1e-4, pytest.approx(0.03685, rel=1e-3), 0.1)),
        ("int:1:8", "int", (1, 8)),
        ("choice:16,32,64", "choice", ("16", "32", "64")),
        ("choice:(1, 2),[3,4],relu", "choice", ("(1, 2)", "[3,4]", "relu")),
        ("choice:adamw", "choice", ("adamw",)),
    ],
)
def test_a_dimension_is_understood(text, kind, examples):
    (dimension,), rest = space.take([f"--search.a.b={text}", "--jobs=2"])
    assert (dimension.key, dimension.kind, dimension.spec) == ("a.b", kind, text)
    assert dimension.examples() == examples
    assert rest == ["--jobs=2"]


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        (["--search.model.depth"], r"write --search.model.depth=uniform:LOW:HIGH | log"),
        (["--search.model.depth=3"], "write --search.model.depth=uniform"),
        (["--search.=int:1:2"], "write --search.section.key="),
        (["--search.model.depth=integer:1:2"], "kind of --search.model.depth is 'integer': .*int"),
        (["--search.model.depth=int:1"], "needs two whole numbers, int:LOW:HIGH"),
        (["--search.model.depth=int:1:2:3"], "needs two whole numbers"),
        (["--search.model.depth=int:1:2.5"], "needs two whole numbers"),
        (["--search.model.depth=int:4:1"], "LOW must be below HIGH"),
        (["--search.model.dropout_rate=uniform:0:x"], "needs two numbers"),
        (["--search.model.dropout_rate=uniform:0:inf"], "both finite"),
        (["--search.model.dropout_rate=uniform:nan:1"], "both finite"),
        (["--search.optimizer.learning_rate=log:0:1"], "LOW must be above 0"),
        (["--search.model.depth=choice:"], "empty or there twice"),
        (["--search.model.depth=choice:1,,2"], "empty or there twice"),
        (["--search.model.depth=choice:1,1"], "empty or there twice"),
        ([DEPTH, DEPTH], "--search.model.depth is given twice"),
        (["--search.model.dept=int:1:2"], "unknown key --search.model.dept: did you mean 'depth'"),
        (["--search.model=int:1:2"], "--search.model is a section"),
        (["--search.model.depth=uniform:1:2"], "model.depth is 1.3.* must be a whole number"),
        (["--search.model.depth=choice:1,deep"], "model.depth=deep: .* must be a whole number"),
        ([DEPTH, "--config.model.depth=2"], "--search.model.depth and --config.model.depth"),
        (["--search.train.seed=int:0:9"], "a seed is nothing to choose; see --seeds"),
        (["--search.data.splits.val=choice:test,train"], "change what trials are measured on"),
        (["--search.train.select.metric=choice:val/loss,val/accuracy"], "are measured on"),
        (["--search.evaluators.0.every=int:1:2"], "are measured on"),
        ([RATE, "--trials=0"], "--trials=0: it must be at least 1"),
        ([RATE, "--jobs=0"], "--jobs=0"),
        ([RATE, "--seeds=-1"], "--seeds=-1"),
        ([RATE, "--seed=-1"], "--seed: '-1': a whole number from 0"),
        ([RATE, "--sampler=grid"], "invalid choice: 'grid'"),
        ([RATE, "--trail=3"], "unknown argument --trail=3: did you mean"),
        ([RATE, "--halving", "--config.evaluators.0.every=6"], "evaluate at least 3 times"),
        (["--search.train.steps=int:4:8", "--halving"], "a third of their steps: fix those"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, monkeypatch, searched, message):
    monkeypatch.setattr(
        sys, "argv", ["sweep", DIGITS, SELECT, "--smoke", "--trials=2", f"--out={tmp_path}/x",
                      *searched]
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        command_line.main(sweep.run)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert re.search(message, said), said
    assert not (tmp_path / "x").exists()


def test_nothing_to_search_is_said():
    with pytest.raises(ConfigError, match="nothing to search: give a range, such as --search"):
        sweep.run([DIGITS, SELECT, "--trials=2"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "selects by nothing.*--config.train.select.metric=val/accuracy"),
        (["--config.train.select.metric=test/accuracy"], "only a validation split may"),
        (["--config.train.select.metric=train/loss"], "only a validation split may"),
        ([SELECT, "--config.data.splits.val=test"], "whose split is the test set"),
        ([SELECT, "--config.data.splits.val=test[:50%]"], "whose split is the test set"),
        (["--config.train.select.metric=dev/loss"], "no evaluator reads 'dev' while training"),
        (
            [SELECT, "--config.data.splits.val=test", "--config.train.select.metric=val/loss"],
            "whose split is the test set",
        ),
    ],
)
def test_a_config_that_selects_by_no_validation_split_is_refused(given, message):
    with pytest.raises(ConfigError, match=message) as refused:
        sweep.run([DIGITS, "--trials=2", RATE, *given])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("splits", "split", "hidden"),
    [
        ({"val": "train[90%:]", "test": "train[:10%]"}, "val", False),
        ({"val": "validation", "test": "test"}, "val", False),
        ({"fold": "test"}, "fold", True),
        ({"val": "dev", "test": "dev"}, "val", True),
        ({"val": "dev[:50%]", "test": "dev"}, "val", True),
        ({"val": "dev[:50%]", "test": "dev[50%:]"}, "val", False),
        ({"val": "dev[:50%]", "test": "dev[:50%]"}, "val", True),
        ({"val": "train+test_small[5:]", "test": "x"}, "val", True),
        ({}, "test_b", True),
    ],
)
def test_a_split_is_known_by_what_it_reads(splits, split, hidden):
    assert unseen.hidden({"data": {"splits": splits}}, split) is hidden


def test_the_fold_that_a_paper_selects_on_is_a_test_set():
    values = resolve.resolve(resolve.load_file("configs/graph/gin_mutag.py"))
    with pytest.raises(ConfigError, match=r"'fold/accuracy', whose split is the test set"):
        unseen.selects(values)
    validated = resolve.resolve(resolve.load_file("configs/graph/gin_mutag.py:validated"))
    assert unseen.selects(validated) == ("val/accuracy", "max")
    assert unseen.every(validated, "val/accuracy") == 50


def test_without_optuna_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="pip install optuna"):
        sweep.run([DIGITS, SELECT, RATE, "--trials=2"])


def test_the_best_follows_validation_and_no_trial_tests(tmp_path, stand_in, capsys):
    """The stand-in's test metric is the inverse, and it ends where a trial's config would test."""
    out = tmp_path / "out"
    assert sweep.run(arguments(out)) == 0
    found = read(out)
    assert len(found) == 6
    values = {t.number: t.value for t in found}
    best = min(found, key=lambda t: abs(t.params["optimizer.learning_rate"] - 0.01))
    assert max(values, key=values.get) == best.number
    config = json.loads((out / "best.json").read_text())
    assert config["optimizer"]["learning_rate"] == best.params["optimizer.learning_rate"]
    assert config["model"]["depth"] == best.params["model.depth"]
    # It is the whole config again: what is trained in the end is tested.
    assert [e["split"] for e in config["evaluators"]] == ["val", "test", "test", "test"]
    stored = (out / "study.journal").read_text()
    for value in values.values():
        assert repr(value) in stored
        assert repr(1 - value) not in stored
    said = capsys.readouterr()
    assert f"python train.py --config={out / 'best.json'}" in said.out
    assert "of the variance: optimizer.learning_rate" in said.out
    assert "trials/min" in said.err
    page = (out / "index.html").read_text()
    assert "Importance of each parameter" in page
    assert page.count("<rect ") == 2


def test_jobs_change_no_trial_and_more_trials_go_on(tmp_path, stand_in):
    one, two = tmp_path / "one", tmp_path / "two"
    assert sweep.run(arguments(one, trials=5)) == 0
    assert sweep.run(arguments(two, "--jobs=3", trials=3)) == 0
    assert drawn(two) == drawn(one)[:3]
    assert sweep.run(arguments(two, "--jobs=2", trials=5)) == 0
    assert drawn(two) == drawn(one)
    assert len({json.dumps(p) for p in drawn(one)}) == 5
    other = tmp_path / "other"
    assert sweep.run(arguments(other, "--seed=1", trials=1)) == 0
    assert drawn(other) != drawn(one)[:1]


def test_a_killed_sweep_goes_on_as_if_it_had_not_been(tmp_path, stand_in):
    """TPE, whose draws depend on the trials before: killed within a trial, and between two."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert sweep.run(arguments(whole, sampler="tpe", trials=12)) == 0
    code = (
        "from tools import command_line, sweep, trials\n"
        f"trials.PROGRAM, sweep.POLL_SECONDS = {str(stand_in)!r}, 0.01\n"
        "command_line.main(sweep.run)"
    )
    command = [sys.executable, "-c", code, *arguments(broken, sampler="tpe", trials=12)]
    slow = {**os.environ, "SECONDS": "0.6"}
    process = subprocess.Popen(command, cwd=ROOT, env=slow, stderr=subprocess.DEVNULL)
    run = broken / "trials" / "0001" / "seed0"
    until(lambda: (run / "metrics.jsonl").exists())
    process.kill()
    process.wait()
    # Its run dies with it, by the kernel's hand.
    until(lambda: not living(run))
    assert not (run / "result.json").exists()
    states = [t.state.name for t in read(broken)]
    assert states == ["COMPLETE", "RUNNING"]
    assert sweep.run(arguments(broken, sampler="tpe", trials=12)) == 0
    assert drawn(broken) == drawn(whole)
    assert [t.value for t in read(broken)] == [t.value for t in read(whole)]


def living(workdir: Path) -> bool:
    """Whether a process works in a folder."""
    found = subprocess.run(["pgrep", "-f", f"workdir={workdir}"], capture_output=True)
    return found.returncode == 0


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_stopped_sweep_says_how_to_go_on(tmp_path, stand_in, monkeypatch, capsys, number, code):
    """The signal comes while the second trial runs."""
    monkeypatch.setenv("SECONDS", "3")
    begin = sweep.Sweep.begin

    def interrupted(self, place, trial):
        begin(self, place, trial)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(sweep.Sweep, "begin", interrupted)
    monkeypatch.setattr(sys, "argv", ["sweep", *arguments(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        command_line.main(sweep.run)
    assert ended.value.code == code
    assert "0 of 6 trials are done: run again to go on" in capsys.readouterr().err
    assert not living(tmp_path / "out" / "trials" / "0000" / "seed0")


def test_a_trial_that_fails_ends_no_sweep(tmp_path, stand_in, monkeypatch, capsys):
    monkeypatch.setenv("FAILS", "1")
    out = tmp_path / "out"
    searched = (RATE, "--search.model.depth=choice:1,2,3")
    assert sweep.run(arguments(out, *searched, trials=8)) == 0
    found = {t.number: t for t in read(out)}
    failed = [t for t in found.values() if t.params["model.depth"] == "1"]
    assert failed
    for trial in found.values():
        assert trial.state.name == ("FAIL" if trial in failed else "COMPLETE")
    said = "exit code 4: error: the loss is nan at step 3"
    assert failed[0].user_attrs["failure"] == said
    printed = capsys.readouterr()
    assert f"trial {failed[0].number}: failed, {said}" in printed.err
    assert said in printed.out
    assert said in (out / "index.html").read_text()


def test_values_that_do_not_fit_together_are_a_failed_trial(tmp_path, stand_in):
    """Each key is right by itself, but the other model has no such key."""
    searched = ("--search.model.name=choice:vision.vit,vision.cnn", "--search.model.depth=int:1:2")
    out = tmp_path / "out"
    assert sweep.run(arguments(out, *searched, trials=4)) == 0
    for trial in read(out):
        fits = trial.params["model.name"] == "vision.vit"
        assert trial.state.name == ("COMPLETE" if fits else "FAIL")
        if not fits:
            assert "unknown key --search.model.depth" in trial.user_attrs["failure"]
    assert {t.state.name for t in read(out)} == {"COMPLETE", "FAIL"}


def test_where_every_trial_fails_there_is_no_best(tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("FAILS", "2")
    searched = (RATE, "--search.model.depth=choice:2")
    with pytest.raises(VerdictError, match="none of 2 trials came to its end: exit code 4"):
        sweep.run(arguments(tmp_path / "out", *searched, trials=2))
    assert not (tmp_path / "out" / "best.json").exists()
    assert (tmp_path / "out" / "index.html").exists()


def test_missing_data_ends_a_sweep_which_then_goes_on(tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("NO_DATA", "2")
    out, searched = tmp_path / "out", (RATE, "--search.model.depth=choice:2")
    with pytest.raises(DataError, match="digits are missing"):
        sweep.run(arguments(out, *searched, "--jobs=2", trials=3))
    monkeypatch.delenv("NO_DATA")
    assert sweep.run(arguments(out, *searched, trials=3)) == 0
    assert [t.state.name for t in read(out)] == ["COMPLETE"] * 3


def test_seeds_are_averaged(tmp_path, stand_in, capsys):
    out = tmp_path / "out"
    assert sweep.run(arguments(out, "--seeds=3", "--config.train.seed=5", trials=2)) == 0
    for trial in read(out):
        values = trial.user_attrs["values"]
        assert values[1] - values[0] == pytest.approx(0.01)
        assert len(values) == 3
        assert trial.value == pytest.approx(sum(values) / 3)
        assert trial.user_attrs["seconds"] == 3.0
    assert "95 % interval" in capsys.readouterr().out


def test_halving_prunes_what_is_behind_at_a_third(tmp_path, stand_in):
    """The first runs on; later ones only where they are the best third at step 4 of 12."""
    out = tmp_path / "out"
    assert sweep.run(arguments(out, "--halving", trials=9)) == 0
    best, wanted = [], []
    for trial in read(out):
        value = 1 - abs(trial.system_attrs["completed_rung_0"] * 3 - 1)
        best = sorted([*best, value], reverse=True)
        wanted.append("COMPLETE" if value >= best[max(len(best) // 3 - 1, 0)] else "PRUNED")
    assert [t.state.name for t in read(out)] == wanted
    assert {"COMPLETE", "PRUNED"} == set(wanted)
    assert all(t.user_attrs[studies.SECONDS] > 0 for t in read(out) if t.state.name == "PRUNED")
    assert "pruned" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(12, 4, (4,)), (200, 1, (7, 21, 63)), (1500, 100, (166, 498)), (9, 3, (3,))],
)
def test_rungs(steps, every, expected):
    assert studies.rungs(steps, every) == expected


def test_a_study_is_kept_in_sqlite_and_of_one_kind(tmp_path, stand_in):
    out = tmp_path / "out"
    stored = f"--storage={tmp_path / 'study.db'}"
    assert sweep.run(arguments(out, stored, trials=1)) == 0
    assert sweep.run(arguments(out, stored, trials=2)) == 0
    assert len(read(tmp_path, "study.db")) == 2
    with pytest.raises(
        ConfigError, match=r"sweep of another kind \(config.optimizer.weight_decay: 0.2 th"
    ):
        sweep.run(arguments(out, stored, "--config.optimizer.weight_decay=0.1"))
    with pytest.raises(ConfigError, match="runs of another storage"):
        sweep.run(arguments(out))
    (tmp_path / "wrong.db").write_text("no database, but long enough to be read as one" * 99)
    with pytest.raises(ConfigError, match="holds no study that can be read"):
        sweep.run(arguments(tmp_path / "new", f"--storage={tmp_path / 'wrong.db'}"))


def test_a_folder_serves_one_sweep_at_a_time(tmp_path, stand_in, monkeypatch):
    out = tmp_path / "out"
    begin = sweep.Sweep.begin

    def second(self, place, trial):
        with pytest.raises(ConfigError, match="another sweep is running in it"):
            sweep.run(arguments(out))
        begin(self, place, trial)

    monkeypatch.setattr(sweep.Sweep, "begin", second)
    assert sweep.run(arguments(out, trials=1)) == 0


def test_runs_share_the_machine(tmp_path, monkeypatch):
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    alone = trials.surroundings(1, 0, tmp_path)
    assert "PJRT_NPROC" not in alone
    shared = trials.surroundings(3, 1, tmp_path)
    assert shared["PJRT_NPROC"] == shared["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in shared
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    places = [trials.surroundings(3, i, tmp_path)["CUDA_VISIBLE_DEVICES"] for i in range(3)]
    assert places == ["0", "1", "0"]
    assert trials.surroundings(3, 0, tmp_path)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    (tmp_path / "accel0").touch()
    with pytest.raises(ConfigError, match="a TPU serves one process at a time"):
        trials.surroundings(2, 0, tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "CUDA_VISIBLE_DEVICES" not in trials.surroundings(2, 0, tmp_path)


def test_the_best_config_trains_to_the_value_that_was_selected(tmp_path):
    """A real run, and the same again by hand, on fake digits."""
    out = tmp_path / "out"
    assert sweep.run(arguments(out, "--config.model.depth=1", RATE, trials=1)) == 0
    (best,) = read(out)
    run = out / "trials" / "0000" / "seed0"
    assert '"test"' not in (run / "metrics.jsonl").read_text()
    assert json.loads((run / "result.json").read_text())["scalars"] == {}
    again = tmp_path / "again"
    assert train.run([f"--config={out / 'best.json'}", f"--workdir={again}"]) == 0
    result = json.loads((again / "result.json").read_text())
    assert result["selected"]["value"] == best.value
    assert result["value"] is not None
