"""tools.inspect: what a run holds, told from shapes alone."""

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


def test_eight_devices_share_the_batch_and_the_large_arrays(printed):
    """This process has one device: the mesh is only looked at."""
    eight = printed(
        inspect.run, CONFIG, "--devices=8", "--config.mesh.fsdp=4",
        "--config.model.width=256", "--config.model.heads=4",
    )  # fmt: skip
    assert eight["mesh"] == {"data": 2, "fsdp": 4, "tensor": 1, "sequence": 1}
    rows = {a["path"]: a for a in eight["arrays"]}
    image, mlp = rows["batch/image"], rows["params/layer_00/mlp/hidden/kernel"]
    assert image["bytes_per_device"] * 8 == 4 * image["elements"]
    assert "fsdp" in mlp["spec"]
    assert mlp["bytes_per_device"] * 4 == 4 * mlp["elements"]


def test_a_pod_that_is_not_here_holds_little_on_each_device(printed):
    config = "--config=configs/vision/vit_s16_imagenet.py"
    one, pod = (
        printed(inspect.run, config, f"--devices={n}", f"--config.mesh.fsdp={n}") for n in (1, 256)
    )
    assert pod["devices"] == 256 and pod["parameters"] == one["parameters"]
    # Biases and norms stay whole; dimensions of 384 do not divide by 256, 1536 does.
    assert pod["bytes_per_device"]["params"] < one["bytes_per_device"]["params"] / 2
    assert pod["bytes_per_device"]["batch"] * 256 == one["bytes_per_device"]["batch"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config.mesh.fsdp=3"], "does not fit 1 devices: .*--devices=N"),
        (["--devices=8", "--config.mesh.fsdp=3"], "does not fit 8 devices: mesh.fsdp=2 or"),
        (["--devices=0"], "--devices=0: it must be at least 1"),
        (["--devices=24"], "batch_size 64 does not divide over the 24 parts"),
    ],
)
def test_a_mesh_that_does_not_fit_is_one_line(arguments, told):
    with pytest.raises(ConfigError, match=told):
        inspect.run([CONFIG, *arguments])
