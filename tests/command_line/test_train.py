"""train.py as a user meets it: what it prints, where it writes, what a second call does."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.command_line.conftest import CONFIG, Run, contents
from tests.conftest import ROOT, Program
from tools import find, resolve
from training import config as configs

# What ARCHITECTURE promises of every run's folder; events.* and .lock are beside these.
FILES = {
    "config.json", "environment.json", "metrics.jsonl", "timings.jsonl", "result.json",
    "report.html",
}  # fmt: skip


def test_list_names_every_config(in_process: Run) -> None:
    ended = in_process("--list")
    assert ended.code == 0
    for name in find.configs():
        assert f"configs/{name}.py" in ended.out


def test_printed_config_can_be_given_back(in_process: Run) -> None:
    change = "--config.optimizer.learning_rate=0.004"
    ended = in_process(CONFIG, change, "--print_config")
    assert ended.code == 0
    assert change in ended.out.splitlines()
    words = [word for line in ended.out.splitlines() for word in shlex.split(line, comments=True)]
    overrides = [word.removeprefix("--config.") for word in words]
    file = resolve.load_file("configs/vision/vit_digits.py")
    again = resolve.resolve(file, overrides)
    assert configs.differences(again, resolve.resolve(file, [change[len("--config.") :]])) == {}


def test_a_run_leaves_what_is_promised(finished: Path) -> None:
    assert {p.name for p in finished.iterdir()} >= FILES | {"checkpoints", "figures"}
    result = json.loads((finished / "result.json").read_text())
    promised = {
        "metric", "value", "values", "interval", "seeds", "selected", "baseline", "steps",
        "seconds", "status",
    }  # fmt: skip
    assert set(result) >= promised
    assert result["name"] == "vision/vit_digits"
    environment = json.loads((finished / "environment.json").read_text())
    assert shlex.split(environment["command"])[:3] == ["python", "train.py", CONFIG]
    assert environment["versions"]["jax"]
    assert list(finished.glob("events.*"))


def test_metrics_hold_nothing_of_the_clock(finished: Path) -> None:
    names = set()
    for line in (finished / "metrics.jsonl").read_text().splitlines():
        names |= set(json.loads(line))
    assert not [n for n in names if "second" in n or "per_s" in n or "time" in n]


def test_a_finished_run_prints_its_table_again(in_process: Run, finished: Path) -> None:
    before = contents(finished)
    ended = in_process(CONFIG, "--smoke", f"--workdir={finished}")
    assert ended.code == 0
    value = json.loads((finished / "result.json").read_text())["value"]
    assert f"{100 * value:.2f} %" in ended.out
    assert "test accuracy" in ended.out
    assert str(finished / "report.html") in ended.out
    assert contents(finished) == before


def test_a_config_json_repeats_the_run(in_process: Run, finished: Path, tmp_path: Path) -> None:
    ended = in_process(f"--config={finished / 'config.json'}", f"--workdir={tmp_path / 'again'}")
    assert ended.code == 0, ended.err
    for name in ("config.json", "metrics.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_overrides_reach_the_run(in_process: Run, tmp_path: Path) -> None:
    changes = (
        "train.steps=4", "train.seed=7", "optimizer.name=lion", "data.source.split_seed=3",
        "model.name=vision.cnn",
    )  # fmt: skip
    argv = [f"--config.{change}" for change in changes]
    ended = in_process(CONFIG, "--smoke", f"--workdir={tmp_path / 'run'}", *argv)
    assert ended.code == 0, ended.err
    values = json.loads((tmp_path / "run" / "config.json").read_text())
    flat = configs.flatten(values)
    for change in changes:
        key, _, value = change.partition("=")
        assert str(flat[key]) == value
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seeds"] == [7]


def test_smoke_without_a_workdir_starts_anew_each_time(
    in_process: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "smoke" / "vision" / "vit_digits"
    # A run of other values, which would refuse to go on.
    shutil.copytree(finished, folder)
    ended = in_process(CONFIG, "--smoke", "--config.baseline.protocol=again")
    assert ended.code == 0, ended.err
    assert json.loads((folder / "result.json").read_text())["baseline"]["protocol"] == "again"


def test_fresh_is_a_numbered_sibling(in_process: Run, finished: Path, tmp_path: Path) -> None:
    """Counted from the folder that is there; the second run is as whole as the first."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    assert in_process(CONFIG, "--smoke", f"--workdir={workdir}", "--fresh").code == 0
    assert (tmp_path / "run-2" / "result.json").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_ensemble_reports_every_member(in_process: Run, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    ended = in_process(CONFIG, "--smoke", f"--workdir={workdir}", "--config.train.ensemble=2")
    assert ended.code == 0, ended.err
    result = json.loads((workdir / "result.json").read_text())
    assert len(result["values"]) == len(result["seeds"]) == 2
    low, high = result["interval"]
    assert low <= result["value"] <= high
    assert "95 % interval" in ended.out
    members = [json.loads(line) for line in (workdir / "members.jsonl").read_text().splitlines()]
    assert all(len(line["loss"]) == 2 for line in members if "loss" in line)


def test_it_runs_on_eight_devices(program: Program, tmp_path: Path) -> None:
    small = ("--config.model.name=vision.cnn", "--config.mesh.fsdp=2")
    argv = ("train.py", CONFIG, "--smoke", f"--workdir={tmp_path / 'run'}", *small)
    ended = program(*argv, devices=8)
    assert ended.returncode == 0, ended.stderr
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert len(environment["devices"]) == 8


def test_help_is_a_page(in_process: Run) -> None:
    ended = in_process("--help")
    assert ended.code == 0
    for flag in ("--config", "--workdir", "--smoke", "--fresh", "--list", "--print_config"):
        assert flag in ended.out
    assert str(ROOT) not in ended.out
