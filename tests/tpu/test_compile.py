"""The real update compiles for TPU slices, with no TPU: what runs on a laptop runs on a pod."""

import os

import jax
import pytest
from jax.experimental import topologies

from tools import parts, resolve
from training import mesh
from training.compiled import Compiled
from training.config import Mesh

pytestmark = pytest.mark.tpu
# A TPU VM tells these to libtpu; a machine without one would be asked over the network.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


@pytest.fixture(scope="module")
def devices():
    """The four devices of a v5e:2x2 slice, described by libtpu."""
    before = {k: os.environ.get(k) for k in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield topologies.get_topology_desc("v5e:2x2", platform="tpu").devices
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("config", "overrides", "sizes"),
    [
        ("vision/vit_digits", ["train.steps_per_call=2"], Mesh()),
        ("vision/vit_digits", ["model.width=128", "model.scan_layers=True"], Mesh(data=2, fsdp=2)),
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
    text = executable.as_text()
    # Splitting the batch must bring the gradients together.
    assert "all-reduce" in text or "reduce-scatter" in text
    assert jax.devices()[0].platform == "cpu", "nothing ran on a TPU"
