"""Eight simulated devices train as one does, hold an eighth, and gather what they should.

One process of eight devices (tests/training/eight_devices.py) does all the work.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.training.eight_devices import RUNS, STEPS

# One fixture does all the work, on a machine that may do other things meanwhile.
pytestmark = pytest.mark.timeout(600)
FLAGS = "--xla_force_host_platform_device_count=8"
PAIRS = [(model, grid) for model, grids in RUNS.items() for grid in grids]


@pytest.fixture(scope="module")
def found():
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.eight_devices"],
        env=environment, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(("model", "grid"), PAIRS)
def test_losses_and_gradients_are_those_of_one_device(found, model, grid):
    losses = found[model]["one"]["losses"]
    assert len(losses) == STEPS and np.ptp(losses) > 0.1, "it learned something"
    assert found[model][grid]["loss"] <= 1e-5
    assert found[model][grid]["gradient"] <= 1e-5


@pytest.mark.parametrize(("model", "grid"), PAIRS)
def test_a_device_holds_what_inspect_says(found, model, grid):
    assert found[model][grid]["bytes"] == found[model][grid]["inspected"]


@pytest.mark.parametrize("model", ["convolution", "transformer", "dropout"])
def test_bytes_on_a_device_fall_as_they_should(found, model):
    whole = found[model]["one"]["bytes"]
    assert found[model]["data"]["bytes"] == whole
    # A few arrays have no dimension that divides, or are too small.
    assert whole / 8 < found[model]["fsdp"]["bytes"] < whole / 6


def test_tensor_and_fsdp_together_split_both_ways(found):
    whole = found["transformer"]["one"]["bytes"]
    assert whole / 4 < found["transformer"]["mixed"]["bytes"] < whole / 3
    assert whole / 4 < found["transformer"]["tensor"]["bytes"] < whole / 3


@pytest.mark.parametrize(("model", "grid"), PAIRS)
def test_the_state_is_donated(found, model, grid):
    """All of it is updated in place; that its buffers are gone the process has asserted."""
    assert found[model][grid]["donated"] >= found[model][grid]["state"]


@pytest.mark.parametrize("model", ["convolution", "transformer", "dropout"])
def test_pure_data_parallelism_gathers_nothing(found, model):
    assert found[model]["data"]["gathers"] == []


def test_fsdp_gathers_each_layer_inside_the_scan_and_never_the_stack(found):
    fsdp = found["transformer"]["fsdp"]
    stacked = {tuple(shape) for shape in fsdp["stacked"]}
    assert len(stacked) == 4, "three kernels of attention are of one shape"
    inside = {math.prod(s) for shapes, looped in fsdp["gathers"] if looped for s in shapes}
    # However a layer's kernel is reshaped before, its elements are gathered in the loop.
    assert {math.prod(shape[1:]) for shape in stacked} <= inside
    # No device ever has a whole stack: neither in the loop nor outside, neither gathered nor made.
    assert not stacked & {tuple(shape) for shape in fsdp["shapes"]}


def test_data_parallelism_has_the_whole_stack(found):
    """What the test above asserts the absence of is there without FSDP."""
    data = found["transformer"]["data"]
    assert {tuple(shape) for shape in data["stacked"]} <= {tuple(shape) for shape in data["shapes"]}


def test_a_sequence_axis_splits_the_activations(found):
    """Batch 16 over fsdp=2, heads 8 over tensor=2, positions 16 over sequence=2."""
    shapes = {tuple(s) for s in found["transformer"]["mixed"]["shapes"]}
    assert (8, 4, 8, 16) in shapes, "scores of a device's queries and all keys"
    assert (8, 4, 16, 16) not in shapes
    assert (8, 8, 32) in shapes and (8, 16, 32) not in shapes, "tokens of a device"


def test_the_state_is_never_whole_on_a_device_when_it_is_made(found):
    one, fsdp = found["init"]["one"], found["init"]["fsdp"]
    assert found["init"]["equal"], "the same numbers on any mesh"
    large = {tuple(shape) for shape in fsdp["large"]}
    assert large <= {tuple(shape) for shape in one["shapes"]}, "one device has them whole"
    assert not large & {tuple(shape) for shape in fsdp["shapes"]}
    output, temporary = fsdp["bytes"]
    assert output < one["bytes"][0] / 6
    assert temporary < one["bytes"][1] / 4
