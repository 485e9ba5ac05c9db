"""Pickles of arrays from elsewhere, read without running anything that they ask for.

A pickle is a program: loading one may call any function by name. Here the only names that resolve
are those that arrays, SciPy's row-compressed matrices and dicts of lists need; any other is refused
by name.
"""

import collections
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.contracts import DataError


class SparseRows:
    """The state of a pickled scipy.sparse.csr_matrix: `indptr`, `indices`, `data` and `shape`.

    A class of its own, because a matrix that an old SciPy pickled is not what a new one restores.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise DataError(f"a sparse matrix of the state {type(state).__name__}, not a dict")
        self.state = state

    def lists(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rows, columns, values) [z] of its entries, by row."""
        starts = np.asarray(self.state["indptr"])
        rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return rows, np.asarray(self.state["indices"]), np.asarray(self.state["data"])

    @property
    def shape(self) -> tuple[int, int]:
        """[rows, columns]."""
        rows, columns = self.state["_shape"]
        return int(rows), int(columns)


class _Dtype:
    """The words of a pickled dtype; a real one could be told by its pickle to hold pointers."""

    def __init__(self, text: Any, *rest: Any) -> None:
        del rest
        self.text, self.order = str(text), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def real(self) -> np.dtype:
        """A dtype of plain numbers; objects and records may hold what is no array."""
        dtype = np.dtype(f"{self.order}{self.text}")
        if dtype.kind not in "biufc":
            raise DataError(f"an array of the dtype {dtype}")
        return dtype


class _Array(np.ndarray):
    """An array whose numbers are the bytes of its state, counted."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype):
            raise DataError(f"an array of the dtype {dtype!r}")
        real = dtype.real()
        # Strings of Python 2 come as text.
        flat = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, real)
        if any(size < 0 for size in shape) or flat.size != math.prod(shape):
            raise DataError(f"an array of the shape {shape} with {flat.size} numbers")
        state = (1, tuple(shape), real, bool(fortran), flat.tobytes())
        super().__setstate__(state)  # ty: ignore[invalid-argument-type]


# What stands for numpy.ndarray: a name that nothing can be made of but by `_reconstruct`.
_NDARRAY = "numpy.ndarray"


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """NumPy's own: an empty array, to which the pickle then gives its state."""
    del shape, code
    if kind is not _NDARRAY:
        raise DataError(f"an array of the type {kind!r}")
    return np.ndarray.__new__(_Array, (0,), "b")


_ALLOWED: dict[tuple[str, str], Any] = {
    **{
        (f"{package}.multiarray", "_reconstruct"): _reconstruct
        for package in ("numpy.core", "numpy._core")
    },
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("scipy.sparse.csr", "csr_matrix"): SparseRows,
    ("scipy.sparse._csr", "csr_matrix"): SparseRows,
    ("collections", "defaultdict"): collections.defaultdict,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
}


class _Restricted(pickle.Unpickler):
    """Resolves the allowed names only."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"it asks for {module}.{name}, which no array needs: it was not loaded"
            ) from None


def load(path: Path) -> Any:
    """What the pickle at `path` holds: arrays, SparseRows, dicts, lists and numbers.

    Raises:
      DataError: the file cannot be read, is no pickle, or asks for anything else, which is named.
    """
    try:
        return _Restricted(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:
        # A damaged pickle fails in as many ways as there are instructions.
        raise DataError(
            f"{path} is no pickle of arrays: {type(error).__name__}: {error}"
        ) from error
