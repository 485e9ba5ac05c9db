"""Whatever kills a run and whenever, the next start goes on: same parameters, same metric lines.

"Same" is bit for bit, against a run that nothing disturbed. tools.torture does this to train.py.
"""

import random

import pytest

from tests.durability import victims
from tests.durability.conftest import KINDS, ended, same
from training.contracts import PreemptedError

KILLED, RANDOM_KILLS = -9, 8


def test_killed_at_random_moments(whole, tmp_path):
    expected, seconds = whole("ensemble")
    name, members = KINDS["ensemble"]
    rng, folder = random.Random(0), tmp_path / "run"
    for _ in range(RANDOM_KILLS):
        process = victims.start(folder, name, ensemble=members)
        process.join(rng.uniform(0, 0.8 * seconds))
        process.kill()
        process.join()
        assert process.exitcode in (0, KILLED)
    assert ended(folder, "ensemble") == 0
    same(folder, expected, "ensemble")


@pytest.mark.parametrize(
    ("kind", "moment"), [("ensemble", "saving"), ("acting", "saving"), ("supervised", "signing")]
)
def test_killed_inside_a_save(kind, moment, whole, tmp_path):
    """Of step 12: half written, or whole but without its manifest; then 6 is gone on from."""
    expected, _ = whole(kind)
    folder = tmp_path / "run"
    assert ended(folder, kind, moment) == KILLED
    left = {path.name for path in (folder / "checkpoints").iterdir()}
    assert "6.sha256" in left and "12.sha256" not in left
    assert ("12" in left) == (moment == "signing")
    assert ended(folder, kind) == 0
    same(folder, expected, kind)


def test_killed_during_the_first_compile(whole, tmp_path):
    """Nor does a half-written entry of the compilation cache harm the next start."""
    expected, _ = whole("supervised")
    folder = tmp_path / "run"
    assert ended(folder, "supervised", "compiling") == KILLED
    assert not (folder / "metrics.jsonl").exists() and not any((folder / "checkpoints").iterdir())
    assert ended(folder, "supervised", "compiled before") == 0
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    again = tmp_path / "again"
    assert ended(again, "supervised", "compiled before") == 0
    same(folder, expected, "supervised")
    same(again, expected, "supervised")


def test_told_to_stop(whole, tmp_path):
    expected, _ = whole("ensemble")
    folder = tmp_path / "run"
    assert ended(folder, "ensemble", "SIGTERM") == PreemptedError.code
    assert (folder / "report.html").exists() and not (folder / "result.json").exists()
    assert ended(folder, "ensemble") == 0
    same(folder, expected, "ensemble")
