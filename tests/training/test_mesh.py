"""Eight simulated devices train as one does, and wrong meshes are told what would be right."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

FLAGS = "--xla_force_host_platform_device_count=8"


@pytest.fixture(scope="module")
def found():
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.eight_devices"],
        env=environment, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["data", "fsdp", "mixed"])
def test_eight_devices_give_the_losses_of_one(found, kind):
    one = np.array(found["one"][0])
    assert one[-1] != one[0]
    np.testing.assert_allclose(found[kind][0], one, rtol=1e-5, atol=1e-5)


def test_fsdp_holds_less_on_each_device(found):
    whole, shared = found["one"][1], found["fsdp"][1]
    assert found["data"][1] == whole, "data parallelism keeps everything everywhere"
    # Arrays under the threshold stay whole: at this size that is a good part of them.
    assert shared < 0.5 * whole


def test_wrong_meshes_are_told_what_would_be_right(found):
    three, two_rests, too_many, none, batch = found["refusals"]
    assert "does not fit 8 devices" in three and "1, 2, 4, 8" in three
    assert "one of them may be -1" in two_rests and "at least 1" in none
    assert "does not fit 8 devices" in too_many
    assert "batch_size 12 does not divide over the 8 parts" in batch and "8 or 16 would" in batch
