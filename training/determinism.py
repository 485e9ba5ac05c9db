"""What makes a rerun of one program on the same devices equal bit for bit, by backend.

    cpu   nothing: XLA:CPU splits its sums the same way each time
    tpu   nothing: its programs are deterministic
    gpu   XLA flags. `deterministic_ops` keeps out operations whose order of summation varies
          (atomic additions in scatters, some of cuDNN's) and autotuning, whose winner is a matter
          of timing; it includes `exclude_nondeterministic_ops` (openxla/xla#12520), set as well

The data order and every random draw are functions of the seed and the step anyway.
"""

import os

FLAGS = ("--xla_gpu_deterministic_ops=true", "--xla_gpu_exclude_nondeterministic_ops=true")


def require() -> None:
    """Sets the flags for this process; to be called before its first use of a device."""
    given = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([*given, *(f for f in FLAGS if f not in given)])


def required() -> bool:
    """Whether the flags are set."""
    return set(FLAGS) <= set(os.environ.get("XLA_FLAGS", "").split())
