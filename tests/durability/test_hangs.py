"""What does not go on is ended, with what is needed to see why."""

import contextlib
import dataclasses
import socket
import time

import pytest

from tests.durability import victims
from training.contracts import HungError
from training.watchdog import Watchdog

SHORT = 0.01  # minutes


def test_a_run_that_makes_no_step(tmp_path):
    """The limit is over while it compiles, and nothing happens; then a batch does not come."""
    fields = dataclasses.replace(victims.STEPS, watchdog_minutes=0.02)
    folder = tmp_path / "run"
    assert victims.ended(folder, "supervised", "hanging", fields) == HungError.code
    [stacks] = folder.glob("hang_step_*.txt")
    text = stacks.read_text()
    assert "in <lambda>" in text and "tests/durability/victims.py" in text
    assert text.count("hread 0x") > 1
    log = (tmp_path / "run.log").read_text()
    assert "error: no step for 0.02 minutes after step 19" in log and str(stacks) in log
    assert not (folder / "result.json").exists()


@pytest.fixture
def barks(monkeypatch):
    """Steps after which a watchdog would have ended this process."""
    found = []
    monkeypatch.setattr(Watchdog, "_bark", lambda self, step: found.append(step))
    return found


def test_it_waits_for_the_first_step_and_for_what_may_take_long(barks, tmp_path):
    watchdog = Watchdog(SHORT, tmp_path)
    with watchdog:
        time.sleep(2 * 60 * SHORT)
        watchdog.beat(1)
        # What ends in an error is over too.
        with contextlib.suppress(KeyError), watchdog.rest():
            time.sleep(2 * 60 * SHORT)
            raise KeyError
        assert not barks
        time.sleep(3 * 60 * SHORT)
        assert barks[0] == 1


def test_it_can_be_turned_off(barks, tmp_path):
    with Watchdog(0, tmp_path) as watchdog:
        watchdog.beat(1)
        time.sleep(0.3)
    assert not barks


def test_a_barrier_names_who_is_missing(processes):
    first, second = processes(2, "barrier")
    assert first.code == HungError.code
    assert f"process 1 of 2 ({socket.gethostname()}) did not come" in first.err
    assert "'second'" in first.err and "Traceback" not in first.err
    assert second.code != 0
