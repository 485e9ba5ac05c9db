"""What a device can do at most: dense matrix products in bfloat16, without sparsity, in FLOP/s.

Vendors state a chip; JAX counts two devices on a TPU v2 or v3 chip (its cores), one on any other. A
name that is not here gives no MFU, which is better than a wrong one.

Sources: cloud.google.com/tpu/docs (the page of each version, "peak compute per chip"); NVIDIA's
data sheets of V100 (fp16 tensor cores), T4 (fp16), A10, A100, L4, L40S, H100, H200 and B200,
without sparsity.
"""

import re

# In order, the first that is found in jax.Device.device_kind counts.
PEAKS = (
    (r"TPU v2", 45e12 / 2),
    (r"TPU v3", 123e12 / 2),
    (r"TPU v4", 275e12),
    (r"TPU v5 lite|TPU v5e", 197e12),
    (r"TPU v5", 459e12),
    (r"TPU v6", 918e12),
    (r"B200", 2250e12),
    (r"H200", 989.4e12),
    (r"H100.*(PCIe|PCI)", 756e12),
    (r"H100.*NVL", 835e12),
    (r"H100", 989.4e12),
    (r"A100", 312e12),
    (r"L40S", 362e12),
    (r"\bL4\b", 121e12),
    (r"\bA10\b", 125e12),
    (r"V100", 125e12),
    (r"\bT4\b", 65e12),
)


def peak(device_kind: str) -> float | None:
    """FLOP/s of one JAX device of this kind; None where it is not known."""
    return next((p for pattern, p in PEAKS if re.search(pattern, device_kind)), None)
