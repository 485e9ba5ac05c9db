"""--determinism: what each backend needs for equal reruns is set before it starts, and kept."""

import os

import pytest

from tests.command_line.conftest import CONFIG, Run
from tests.conftest import Program
from training import determinism, folder


def test_flag_is_set_and_recorded(in_process: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    before = folder.environment("")
    assert before["deterministic"] is False
    assert in_process(CONFIG, "--determinism", "--print_config").code == 0
    after = folder.environment("")
    assert after["deterministic"] is True
    assert after["xla_flags"] == " ".join([before["xla_flags"], *determinism.FLAGS])
    # A second call sets nothing twice.
    determinism.require()
    assert os.environ["XLA_FLAGS"] == after["xla_flags"]


def test_xla_knows_the_flags(program: Program) -> None:
    """It ends the process at a flag that it does not know."""
    flags = " ".join(determinism.FLAGS)
    ended = program("-c", "import jax; print(jax.device_count())", XLA_FLAGS=flags)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "1"
