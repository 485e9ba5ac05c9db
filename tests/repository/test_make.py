"""The commands of a clean clone: make's targets, and .ci/run that calls them all."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

TARGETS = (
    "train",
    "test",
    "test-data",
    "test-browser",
    "test-tpu",
    "compile",
    "compile-tpu",
    "check",
    "format",
    "lock",
    "clean",
)
CI = ("check", "test", "test-data", "test-browser", "test-tpu")

FAKE_MAKE = """#!/bin/sh
for target; do :; done
echo "$target ${REPRISE_RAW_DIR:+with raw files}" >> "$CALLS"
echo "===== 3 passed in 0.5s ====="
[ "$target" != "$FAILS" ]
"""


def make(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_lists_every_target() -> None:
    listed = [line.split()[0] for line in make("help").stdout.splitlines()]
    assert set(TARGETS) <= set(listed)


@pytest.mark.parametrize("target", TARGETS)
def test_target_exists(target: str) -> None:
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "lock"), [(".venv", "base"), (".venv-dev", "dev"), (".venv-tpu", "tpu-dev")]
)
def test_environments_come_from_locks_alone(environment: str, lock: str) -> None:
    done = make("--dry-run", "--always-make", f"{environment}/done")
    assert done.returncode == 0, done.stderr
    assert f"-r locks/{lock}.txt" in done.stdout
    assert "--no-deps --require-hashes" in done.stdout
    assert f"--python {environment} install" in done.stdout


def test_train_uses_the_environment_of_users() -> None:
    done = make("--dry-run", "train", "CONFIG=configs/vision/cnn_mnist.py")
    assert ".venv/bin/python train.py --config=configs/vision/cnn_mnist.py" in done.stdout


def test_another_python_is_refused_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("--always-make", ".venv/done", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Reprise runs on Python 3.11 and 3.12" in done.stdout


def test_data_tests_say_what_they_need() -> None:
    done = make("test-data", "--assume-old=locks/dev.txt", REPRISE_RAW_DIR="")
    assert done.returncode != 0
    assert "REPRISE_RAW_DIR" in done.stdout


def run_ci(tmp_path: Path, fails: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """.ci/run in a repository of its own, beside raw files, with a make that only takes notes."""
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    (repository / ".ci").mkdir(parents=True)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    programs.mkdir()
    script = repository / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text())
    fake = programs / "make"
    fake.write_text(FAKE_MAKE)
    fake.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {**os.environ, "CALLS": str(calls), "FAILS": fails}
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    environment.pop("REPRISE_RAW_DIR", None)
    done = subprocess.run(
        ["bash", str(script)], env=environment, capture_output=True, text=True, timeout=60
    )
    return done, calls.read_text().splitlines()


@pytest.mark.parametrize(("fails", "code"), [("", 0), ("test-data", 1)])
def test_ci_runs_everything_and_fails_if_any_does(tmp_path: Path, fails: str, code: int) -> None:
    done, calls = run_ci(tmp_path, fails)
    assert done.returncode == code, done.stderr
    assert calls == [f"{target} with raw files" for target in CI]
    summary = done.stdout.partition("===== summary")[2].splitlines()[1:]
    for target, line in zip(CI, summary, strict=True):
        verdict = "FAILED (exit 1)" if target == fails else "passed"
        assert re.fullmatch(rf"{target} +0\.\d min  {re.escape(verdict)} +3 passed in 0.5s ?", line)


def test_ci_can_be_executed() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
