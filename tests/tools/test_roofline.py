"""tools.roofline, tools.chips and tools.published: limits, the one table, and published times."""

import pytest

from tools import chips, published, roofline
from training.contracts import ConfigError


def test_the_longest_limit_decides():
    work = roofline.Work(flops=5e12, executed=8e12, bytes=1e11, wire=((1e9, 1e10), (5e9, 0.0)))
    found = roofline.estimate(work, flops=1e13, bandwidth=1e12)
    assert (found.compute, found.memory, found.network) == (0.8, 0.1, 0.1)
    assert found.bound == "compute"
    assert found.least == 0.8
    assert found.step == pytest.approx(0.8 / roofline.EFFICIENCY)
    assert found.most == pytest.approx(1.0 / roofline.EFFICIENCY)
    assert found.mfu == pytest.approx(5e12 / (found.step * 1e13))


def test_published_times_are_met():
    """The first run set the constant; four others, on four chips, were not used for it."""
    rows = [published.compare(run) for run in published.RUNS]
    assert [row["calibrated"] for row in rows] == [True, False, False, False, False]
    assert abs(rows[0]["error"]) < 0.02
    assert {row["topology"].partition(":")[0] for row in rows} == {"v4", "v5e", "v5p", "v6e"}
    assert all(abs(row["error"]) < 0.35 for row in rows)
    assert all(row["source"] for row in rows)


def test_published_rates_are_the_published_mfu():
    """MaxText states 61.10 % for its 16B on v5e: the closed form and the peak agree with theirs."""
    run = published.RUNS[0]
    chip = chips.topology(run.topology).chip
    assert 3 * run.forward() / run.measured / chip.flops == pytest.approx(0.611, abs=0.003)


def test_the_table_prints_its_errors(capsys, printed):
    assert published.run([]) == 0
    out = capsys.readouterr().out
    assert "set the constant" in out
    assert [row["name"] for row in printed(published.run)] == [r.name for r in published.RUNS]


@pytest.mark.parametrize(
    ("text", "chip", "devices"),
    [
        ("v4:2x2x2", "v4", 8), ("v5e:16x16", "v5e", 256), ("v5p:2x2x2", "v5p", 8),
        ("v6e:4x4", "v6e", 16), ("7x:2x2x2", "7x", 16),
    ],
)  # fmt: skip
def test_slices_by_name(text, chip, devices):
    found = chips.topology(text)
    assert (found.chip.name, found.num_devices, found.name) == (chip, devices, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5e:3x5", "v5e comes as"), ("v9:2x2", "v9"), ("v5p:4x4", "v5p comes as"), ("", "such as"),
    ],
)  # fmt: skip
def test_an_unknown_slice_says_which_there_are(text, message):
    with pytest.raises(ConfigError, match=message):
        chips.topology(text)


def test_links_that_a_group_can_use():
    small, ring = chips.topology("v5e:4x4"), chips.topology("v5e:16x16")
    link = small.chip.link
    assert small.bandwidth(4) == link, "an axis of 4 is a line"
    assert small.bandwidth(16) == 2 * link
    assert ring.bandwidth(16) == 2 * link, "an axis of 16 is a ring"
    assert ring.bandwidth(256) == 4 * link
    cube = chips.topology("v5p:4x4x4")
    assert cube.bandwidth(64) == 6 * cube.chip.link


def test_a_device_has_its_share_of_a_chip():
    chip = next(c for c in chips.CHIPS if c.name == "7x")
    device = chips.of_kind("TPU7x")
    assert device.flops == chip.flops / 2
    assert device.memory == chip.memory / 2
    assert chips.of_kind("TPU v5 lite").name == "v5e"
    assert chips.of_kind("TPU v5").name == "v5p"
    assert chips.of_kind("cpu") is None
