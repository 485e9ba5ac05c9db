"""--profile: a trace of some steps after warm-up, and plain words where there is none."""

import logging
from pathlib import Path

import jax.numpy as jnp
import pytest
from etils import epath

import train
from tests.launch.bucket import Bucket, bucket  # noqa: F401  (a fixture)
from tests.launch.conftest import CONFIG, Launcher
from training import profile


def test_a_run_leaves_a_trace(launch: Launcher, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    # Nothing but steps: what is evaluated is not profiled.
    few = ("--config.evaluators=[]", "--config.train.select.metric=")
    few += ("--config.train.test_weights=last",)
    ended = launch(train, CONFIG, "--smoke", "--profile", f"--workdir={workdir}", *few)
    assert ended.code == 0, ended.err
    (trace,) = (workdir / "profile").glob("plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    assert f"steps 6 to 10 are in {workdir}/profile" in ended.err
    assert f"xprof --logdir={workdir}/profile" in ended.err
    # The run is done: there is nothing left to trace, which is said.
    again = launch(train, CONFIG, "--smoke", "--profile", f"--workdir={workdir}", *few)
    assert again.code == 0
    assert "profile: the run is done" in again.err


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of started traces; "" for each that ended."""
    seen: list[str] = []

    def start(folder: str) -> None:
        seen.append(folder)
        (Path(folder) / "plugins").mkdir(parents=True)
        (Path(folder) / "plugins" / "host.xplane.pb").write_bytes(b"trace")

    monkeypatch.setattr(profile.jax.profiler, "start_trace", start)
    monkeypatch.setattr(profile.jax.profiler, "stop_trace", lambda: seen.append(""))
    return seen


def calls(made: profile.Profile, steps: range) -> None:
    """As many calls of the update; the profile ends with them, as a run does."""
    for step in steps:
        made.call(step, jnp.zeros(()))
    made.close()


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (range(1, 5), "no trace: 4 calls of the update in this process, and a trace begins"),
        (range(97, 101), "no trace: 4 calls"),
        (range(1, 6), "no step came after the 5 of the warm-up"),
        (range(1, 9), "steps 6 to 8 are in"),
        (range(101, 121), "steps 106 to 110 are in"),
        (range(4, 84, 4), "steps 21 to 40 are in"),
    ],
)
def test_what_is_traced(
    steps: range, says: str, tmp_path: Path, traces: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run that is short, or resumed near its end, or takes several steps a call."""
    caplog.set_level(logging.INFO, "reprise")
    calls(profile.Profile(epath.Path(tmp_path), wanted=True), steps)
    assert says in caplog.text
    assert len(traces) == (0 if len(steps) < 5 else 2)


def test_nothing_is_traced_unless_asked(
    tmp_path: Path, traces: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    calls(profile.Profile(epath.Path(tmp_path), wanted=False), range(1, 20))
    assert not traces
    assert not caplog.text


def test_a_trace_in_a_bucket(bucket: Bucket, traces: list[str]) -> None:  # noqa: F811
    calls(profile.Profile(epath.Path("gs://mine/run"), wanted=True), range(1, 20))
    assert "gs://" not in traces[0]
    place = bucket.folder / "mine" / "run" / "profile" / "plugins" / "host.xplane.pb"
    assert place.read_bytes() == b"trace"
