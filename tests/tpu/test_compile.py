"""Compiles for TPU slices, with no TPU: what runs on a laptop runs on a pod."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from models.layers import attention
from models.text import gpt
from tests.conftest import ROOT
from tools import ahead, chips, moved, parts, resolve
from training import mesh, placement
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import Info

pytestmark = [pytest.mark.tpu, pytest.mark.timeout(900)]
SMALL = ("--config=configs/vision/cnn_mnist.py", "--smoke", "--config.model.features=(4,)")


def slice_of(name: str) -> list:
    before = {k: os.environ.get(k) for k in ahead.ENVIRONMENT}
    ahead.prepare()
    try:
        return ahead.devices(chips.topology(name))
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


@pytest.fixture(scope="module")
def devices():
    """The four devices of a v5e:2x2 slice, described by libtpu."""
    return slice_of("v5e:2x2")


@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:16x16", "v5p:2x2x2", "v6e:4x4", "7x:2x2x1"])
def test_libtpu_describes_the_slices_of_the_table(name):
    topology = chips.topology(name)
    found = slice_of(name)
    assert len(found) == topology.num_devices
    assert chips.of_kind(found[0].device_kind) == topology.chip.per_device


@pytest.mark.parametrize(
    ("config", "overrides", "sizes"),
    [
        ("vision/vit_digits", ["train.steps_per_call=2"], Mesh()),
        ("vision/vit_digits", ["model.width=128", "model.scan_layers=True"], Mesh(data=2, fsdp=2)),
        ("graph/graph_transformer_zinc", ["data.packs=4", "model.depth=1"], Mesh()),
        ("graph/graphormer_zinc", ["data.packs=4", "model.depth=1"], Mesh()),
    ],
)
def test_the_update_compiles_for_a_slice(config, overrides, sizes, devices):
    values = resolve.resolve(resolve.load_file(f"configs/{config}.py"), overrides)
    built = parts.build({**values, "smoke": True})
    compiled = Compiled(
        built.algorithm, built.train, mesh.make(sizes, list(devices)), built.settings.train
    )
    executable = compiled.compile_update(built.train.specs[0])
    memory = executable.memory_analysis()
    assert memory.argument_size_in_bytes > 0
    found = moved.read(executable.as_text())
    # Splitting the batch must bring the gradients together.
    assert {c.kind for c in found.collectives} & {"all-reduce", "reduce-scatter"}
    assert {c.group for c in found.collectives} <= {2, 4}
    assert found.open_loops == 0, "the length of a scan is in the text"
    assert jax.devices()[0].platform == "cpu", "nothing ran on a TPU"


def test_fsdp_gathers_a_weight_once_however_large_the_batch(devices):
    """No loop over the parts of a weight, which sends them on and sums whole results in turns."""
    grid = mesh.make(Mesh(data=1, fsdp=8), slice_of("v5e:2x4"))
    placed = NamedSharding(grid, P("fsdp"))
    inputs = jax.ShapeDtypeStruct((1024, 256, 1024), jnp.bfloat16, sharding=placed)
    weight = jax.ShapeDtypeStruct((1024, 4096), jnp.bfloat16, sharding=placed)

    def read(options):
        lowered = jax.jit(jnp.dot, out_shardings=placed).lower(inputs, weight)
        return moved.read(lowered.compile(options).as_text())

    whole, parts = read(mesh.compiler_options(grid)), read(None)
    assert {c.kind for c in whole.collectives} == {"all-gather"}
    assert {c.kind for c in parts.collectives} == {"collective-permute"}, "the option's reason"
    assert parts.bytes > 3 * whole.bytes
    assert mesh.compiler_options(mesh.make(Mesh(), list(devices))) is None


@pytest.mark.parametrize("sizes", [Mesh(data=2, tensor=2), Mesh(fsdp=2, sequence=2)])
def test_attention_is_a_tpu_kernel_where_shapes_allow(sizes, devices):
    """196 tokens on a mesh of batch and heads; a split length goes by the compiler's own way."""
    grid = mesh.make(sizes, list(devices))
    placed = NamedSharding(grid, P(("data", "fsdp"), None, "tensor"))
    shape = jax.ShapeDtypeStruct((8, 196, 4, 64), jnp.bfloat16, sharding=placed)

    def loss(query, key, value):
        out = attention.attend(query, key, value, causal=True)
        return (out.astype(jnp.float32) ** 2).sum()

    with jax.set_mesh(grid):
        compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(shape, shape, shape).compile()
    calls = moved.read(compiled.as_text()).custom_calls.get("tpu_custom_call", 0)
    if sizes.sequence > 1:
        assert calls == 0
    else:
        # Forward and backward, each device its own examples and heads.
        assert calls >= 2
        assert compiled.output_shardings[0].shard_shape(shape.shape) == (4, 196, 2, 64)


@pytest.mark.parametrize(
    ("changes", "segmented", "kernel"),
    [
        ({"pattern": "window", "window": 200, "kv_heads": 2}, False, True),
        ({"positions": "rotary"}, True, True),
        ({"pattern": "bigbird", "positions": "alibi"}, True, False),
    ],
)
def test_gpt_compiles_with_its_attention_in_a_tpu_kernel(changes, segmented, kernel, devices):
    """A training step's gradient, scanned and rematerialised, of packed rows too."""
    config = gpt.Config(
        width=256, depth=3, heads=4, max_length=640, scan_layers=True, remat="dots",
        dtype="bfloat16", **changes,
    )  # fmt: skip
    model = gpt.build(config, Info({}, vocab_size=512))
    grid = mesh.make(Mesh(data=2, tensor=2), list(devices))
    tokens = jax.ShapeDtypeStruct((4, 640), jnp.int32)
    params = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 640), jnp.int32), train=False)
    )["params"]
    shapes = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        (params, tokens, tokens),
        (
            placement.place({"params": params}, grid)["params"],
            *[NamedSharding(grid, P("data"))] * 2,
        ),
    )

    def loss(params, tokens, segments):
        seen = segments if segmented else None
        logits = model.apply({"params": params}, tokens, seen, train=True)
        return jax.nn.logsumexp(logits, axis=-1).mean()

    with jax.set_mesh(grid):
        compiled = jax.jit(jax.grad(loss)).lower(*shapes).compile()
    calls = moved.read(compiled.as_text()).custom_calls.get("tpu_custom_call", 0)
    assert calls >= 2 if kernel else calls == 0


def start(*argv: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.compile", *argv], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_programs_compile_at_once_and_in_silence():
    programs = [start(*SMALL, "--topology=v5e:2x2", "--json") for _ in range(2)]
    reports = []
    for program in programs:
        out, err = program.communicate(timeout=600)
        assert program.returncode == 0, err
        assert err == ""
        reports.append(json.loads(out))
    for found in reports:
        assert found["fits"] and found["evaluate"]["fits"]
        assert found["devices"] == 4
        assert found["memory_capacity"] == 16 * 2**30
        estimate = found["estimate"]
        assert estimate["least"] <= estimate["step"] <= estimate["most"]
        assert 0 < estimate["mfu"] < 1
        assert found["bytes"] > 0
        assert found["flops"]["padded"] >= found["flops"]["executed"] == found["flops"]["model"]
    assert np.isclose(reports[0]["flops"]["model"], reports[1]["flops"]["model"])


def test_what_does_not_fit_is_a_verdict():
    program = start(*SMALL, "--topology=v5e:2x2", "--config.data.batch_size=8000000")
    out, err = program.communicate(timeout=600)
    assert program.returncode == 5, err
    assert "DOES NOT FIT" in out
    assert "--config.data.batch_size=" in out
    assert "Traceback" not in err
