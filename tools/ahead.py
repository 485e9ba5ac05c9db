"""The devices of a TPU slice that is not here, as libtpu describes them to the compiler.

Needs the extra `tpu` (libtpu) and no TPU. The default environment has no libtpu, and nothing but
`devices` looks for it.
"""

import importlib.util
import os
from typing import Any

import jax

from tools.chips import Topology
from training.contracts import ConfigError

# A TPU VM tells these to libtpu; elsewhere it would ask the network for them, at length. Its lock
# lets one process in, which is right where a TPU is held, and only in the way where none is.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# As libtpu spells the chips of tools/chips.py, and how it is told that JAX has one device on a v4.
NAMES = {"7x": "tpu7x"}
OPTIONS: dict[str, dict[str, Any]] = {"v4": {"chip_config_name": "megacore"}}


def prepare() -> None:
    """Before JAX looks for devices: this process computes on the CPU whatever is installed.

    Raises:
      ConfigError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "--topology needs libtpu, which the extra `tpu` installs: `make .venv-tpu/done`, then "
            ".venv-tpu/bin/python -m tools.compile (`make test-tpu` does both for the tests)"
        )
    # JAX sets some of them while it is imported, to what it could not find out.
    os.environ.update(ENVIRONMENT)
    jax.config.update("jax_platforms", "cpu")


def devices(topology: Topology) -> list[Any]:
    """The slice's devices, in the order that jax.devices() has on it; call `prepare` first.

    Raises:
      ConfigError: libtpu knows no such slice.
    """
    from jax.experimental import topologies

    shape = "x".join(map(str, topology.shape))
    name = f"{NAMES.get(topology.chip.name, topology.chip.name)}:{shape}"
    options = dict(OPTIONS.get(topology.chip.name, {}))
    if topology.num_chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(name, platform="tpu", **options).devices
    except (RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"--topology={topology.name}: libtpu refuses it: {lines[0]}") from error
    return list(found)
