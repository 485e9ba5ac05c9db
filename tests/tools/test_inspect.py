"""tools.inspect: what a run holds, told from shapes alone."""

import json

import jax
import numpy as np
import pytest

from tests.tools.conftest import values_of
from tools import inspect, parts
from training.contracts import ConfigError

CONFIG = "--config=configs/vision/vit_digits.py"
SMALL = ("--smoke", "--config.model.depth=1")


@pytest.fixture
def found(printed):
    return printed(inspect.run, CONFIG, *SMALL)


def test_the_arrays_are_those_of_the_real_state(found):
    built = parts.build(values_of(real=False))
    batch = next(built.train.batches(0))
    state = jax.jit(built.algorithm.init)(jax.random.key(0), batch)
    leaves = jax.tree_util.tree_leaves_with_path(state)
    expected = {jax.tree_util.keystr(p, simple=True, separator="/"): a for p, a in leaves}
    rows = {a["path"]: a for a in found["arrays"]}
    for path, array in expected.items():
        assert rows[path]["shape"] == list(array.shape)
        assert rows[path]["dtype"] == str(array.dtype)
        assert rows[path]["bytes_per_device"] == array.nbytes
    assert found["parameters"] == sum(a.size for a in jax.tree.leaves(state.params))
    others = {path.partition("/")[0] for path in set(rows) - set(expected)}
    assert others <= {"selection", "batch", "constant"}


def test_the_batch_is_what_the_pipeline_gives(found):
    batch = next(parts.build(values_of(real=False)).train.batches(0))
    rows = {a["path"]: a for a in found["arrays"]}
    for name, array in batch.items():
        assert rows[f"batch/{name}"]["shape"] == list(np.shape(array))
    assert found["bytes_per_device"]["batch"] == sum(a.nbytes for a in batch.values())


def test_totals_add_up(found):
    totals = dict(found["bytes_per_device"])
    assert totals.pop("all") == sum(totals.values())
    assert totals["params"] == 4 * found["parameters"]


def test_members_multiply(found, printed):
    several = printed(inspect.run, CONFIG, *SMALL, "--config.train.ensemble=3")
    assert several["members"] == 3
    assert several["parameters"] == 3 * found["parameters"]


def test_the_table_ends_with_the_count(capsys, found):
    assert inspect.run([CONFIG, *SMALL]) == 0
    out = capsys.readouterr().out
    assert f"{found['parameters']:,} parameters" in out
    assert "data+fsdp" in out


def test_eight_devices_share_the_batch_and_the_large_arrays(program):
    done = program(
        "-m", "tools.inspect", CONFIG, "--json", "--config.mesh.fsdp=4",
        "--config.model.width=256", "--config.model.heads=4", devices=8,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {a["path"]: a for a in json.loads(done.stdout)["arrays"]}
    image, mlp = rows["batch/image"], rows["params/layer_00/mlp/hidden/kernel"]
    assert image["bytes_per_device"] * 8 == 4 * image["elements"]
    assert "fsdp" in mlp["spec"]
    assert mlp["bytes_per_device"] * 4 == 4 * mlp["elements"]


def test_a_mesh_that_does_not_fit_is_one_line():
    with pytest.raises(ConfigError, match="does not fit 1 devices"):
        inspect.run([CONFIG, "--config.mesh.fsdp=3"])
