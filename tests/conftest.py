"""Where tests run: on the CPU, offline, with one compilation cache, away from the user's folders.

This process has one device, as a user's CPU has; a test of several devices starts a program of its
own with `program(..., devices=8)`. What is set here, programs that a test starts inherit.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parent.parent

# Before JAX and TensorFlow are imported: both read these once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Compiling is most of what tests do: code that is not optimised compiles in half the time, and is
# as right. Benchmarks are not run here.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
).strip()
# TensorFlow's file systems otherwise ask whether this is a cloud machine, from C++.
os.environ["NO_GCE_CHECK"] = "true"
_paths = [str(ROOT / "tests" / "offline"), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in _paths if p)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.offline import sitecustomize  # noqa: E402, F401  (importing it is what blocks the network)

# How fast examples are made says how busy the machine is, and nothing of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# They take a minute each: begun last, one of them would keep one worker busy alone.
LONG = ("test_meshes.py", "test_two.py", "test_torture.py", "test_kills.py", "test_bad_input.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first; the rest stay in their order."""
    items.sort(key=lambda item: item.path.name not in LONG)


class Program(Protocol):
    """What the fixture `program` gives."""

    def __call__(
        self, *argv: str | Path, devices: int = 1, timeout: float = 250, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python *argv` in the repository's root and returns its code, stdout and stderr."""
        ...


@pytest.fixture
def program() -> Program:
    """Runs a Python program as a user would, on `devices` simulated ones."""

    def run(
        *argv: str | Path, devices: int = 1, timeout: float = 250, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        flags = os.environ.get("XLA_FLAGS", "")
        if devices > 1:
            flags += f" --xla_force_host_platform_device_count={devices}"
        return subprocess.run(
            [sys.executable, *map(str, argv)],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": flags, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this session prepare data; empty at its start."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def surroundings(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> Iterator[None]:
    """Only `raw` tests see raw files, none the user's prepared data; no handler of logs stays."""
    monkeypatch.setenv("REPRISE_DATA_DIR", str(data_folder))
    if request.node.get_closest_marker("raw") is None:
        monkeypatch.delenv("REPRISE_RAW_DIR", raising=False)
    yield
    # A program that ran in this process has a handler on this test's stderr, which closes now.
    log = logging.getLogger("reprise")
    log.handlers.clear()
    log.propagate = True
