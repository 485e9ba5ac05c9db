"""Runs that nothing disturbed, for those that something did."""

import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.durability import victims
from tests.training.runs import final_arrays, lines

# What it is called here: the toy, and how many members.
KINDS = {"supervised": ("supervised", 1), "ensemble": ("supervised", 3), "acting": ("acting", 1)}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """whole(kind) -> (folder, seconds) of a run that nothing disturbs, made once."""
    made = {}

    def run(kind: str) -> tuple[Path, float]:
        if kind not in made:
            folder, began = tmp_path_factory.mktemp(kind) / "run", time.monotonic()
            assert ended(folder, kind) == 0
            made[kind] = folder, time.monotonic() - began
        return made[kind]

    return run


def ended(folder: Path, kind: str, moment: str = "", **options) -> int:
    """The exit code of a run in a process of its own."""
    name, members = KINDS[kind]
    return victims.ended(folder, name, moment, ensemble=members, **options)


def same(folder: Path, expected: Path, kind: str) -> None:
    """Metric lines and the last checkpoint are equal, bit for bit."""
    for name in ("metrics.jsonl", "members.jsonl"):
        assert lines(folder, name) == lines(expected, name)
    name, members = KINDS[kind]
    found = [final_arrays(path, name, victims.STEPS, members) for path in (folder, expected)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    err: str


@pytest.fixture
def processes():
    """processes(count, what, ...) -> how each process of one run ended; 0 ends the others."""

    def run(count: int, *argv: str | Path) -> list[Ended]:
        with socket.socket() as server:
            server.bind(("localhost", 0))
            address = f"localhost:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "tests.durability.two_processes", address, str(count)]
        started = [
            subprocess.Popen(
                [*command, str(number), *map(str, argv)],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        try:
            first = started[0].communicate(timeout=120)[1]
            rest = [process.communicate(timeout=30)[1] for process in started[1:]]
        finally:
            for process in started:
                process.kill()
        return [Ended(p.returncode, e) for p, e in zip(started, [first, *rest], strict=True)]

    return run
