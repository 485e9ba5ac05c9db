"""Which devices a layer is traced for, where it has more than one way to compute."""

import jax


def platform() -> str:
    """The platform of the mesh's devices, else of the default one: cpu, gpu or tpu."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return jax.default_backend() if device is None else device.platform
