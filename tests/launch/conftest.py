"""Launchers called in this process, on a PATH where the cloud is a folder of the test."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from launch import tpu_vm
from tests.conftest import ROOT
from tests.launch import cloud as fake
from tools import command_line

CONFIG = "--config=configs/vision/vit_digits.py"


@dataclass(frozen=True)
class Ended:
    """How a launcher ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    def refuses(self, *says: str) -> str:
        """The one line of an exit with code 2, which says all of `says`."""
        errors = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert self.code == 2, self.err
        assert len(errors) == 1, self.err
        assert "Traceback" not in self.err
        for words in says:
            assert words in errors[0], errors[0]
        return errors[0]


Launcher = Callable[..., Ended]


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Launcher:
    """Calls a launcher's `main` with arguments, as its `if __name__` does."""

    def run(program: ModuleType, *argv: str) -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        monkeypatch.setattr(sys, "argv", [program.__name__, *argv])
        # Exit code 74 leaves at once, and would take the tests along.
        monkeypatch.setattr(os, "_exit", sys.exit)
        with pytest.raises(SystemExit) as stopped:
            command_line.main(program.run)
        out, err = capfd.readouterr()
        assert isinstance(stopped.value.code, int)
        return Ended(stopped.value.code, out, err)

    return run


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plans are written and carried out in a folder of the test, and not in the repository."""
    folder = tmp_path / "here"
    folder.mkdir()
    for module in [m for n, m in sys.modules.items() if n.startswith("launch.")]:
        if hasattr(module, "ROOT") and module.__name__ != "launch.job":
            monkeypatch.setattr(module, "ROOT", folder)
    return folder


@dataclass(frozen=True)
class Cloud:
    """The state of the fake cloud, for a test to look at."""

    folder: Path

    def plot(self, *events: str) -> None:
        """What happens at each start of the training."""
        (self.folder / "plot").write_text(" ".join(events))

    def calls(self, *verbs: str) -> list[str]:
        """The calls of gcloud, in their order, that contain one of `verbs`, by that verb."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        found = [[v for v in verbs if v in json.loads(line)] for line in lines]
        return [v[0] for v in found if v]


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud whose workers have their environment already; two workers a slice."""
    folder, programs = tmp_path / "cloud", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    sums = [
        hashlib.sha256((ROOT / "locks" / f"{name}.txt").read_bytes()).hexdigest()[:12]
        for name in ("tpu", "cuda")
    ]
    names = ("gcloud", "curl", "sbatch", "srun", "scontrol", "xpk", "sky")
    places = {name: [programs] for name in names}
    places["train"] = [tmp_path / "venvs" / f"venv-{s}" / "bin" for s in sums]
    for name, targets in places.items():
        for target in targets:
            target.mkdir(parents=True, exist_ok=True)
            program(target / ("python" if name == "train" else name), name)
            if name == "train":
                (target.parent / ".complete").touch()
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_CLOUD", str(folder))
    monkeypatch.setenv("FAKE_HOSTS", "2")
    monkeypatch.setenv("REPRISE_VENVS", str(tmp_path / "venvs"))
    monkeypatch.setenv("REPRISE_POLL", "0.05")
    monkeypatch.setattr(tpu_vm, "POLL_SECONDS", 0.02)
    yield Cloud(folder)
    # A test that failed may have left a run on its slice.
    for path in (folder / "slices").glob("*"):
        fake.end_processes(folder, int(path.name))


def program(path: Path, name: str) -> None:
    """An executable that plays `name`."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S {fake.__file__} {name} "$@"\n')
    path.chmod(0o755)
