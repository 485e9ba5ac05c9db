"""Programs called as from a shell, in this process where a new one would only cost time."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import train
from tools import command_line

CONFIG = "--config=configs/vision/vit_digits.py"
Run = Callable[..., "Ended"]


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """{file: (sha256, time of change)} of everything below a folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls train.py's `main` with arguments, as its `if __name__` does."""

    def run(*argv: str | Path) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, argv)])
        with pytest.raises(SystemExit) as stopped:
            command_line.main(train.run)
        out, err = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Ended(stopped.value.code, out, err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done, with --smoke; tests look at it and must leave it as it is."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert train.run([CONFIG, "--smoke", f"--workdir={workdir}"]) == 0
    return workdir
