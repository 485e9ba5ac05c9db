"""The restricted unpickler: arrays come through, and nothing that a pickle asks for is run."""

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from data.graph import unpickle
from training.contracts import DataError


class Asks:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def written(tmp_path, value, protocol=3):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("dtype", ["<i4", "<f8", "|b1"])
def test_arrays_and_dicts_of_lists_come_through(tmp_path, protocol, dtype):
    graph = collections.defaultdict(list, {0: [1, 2], 1: []})
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = unpickle.load(written(tmp_path, {"a": array, "graph": graph}, protocol))
    np.testing.assert_array_equal(found["a"], array)
    assert found["a"].dtype == array.dtype and found["graph"] == graph


def test_a_sparse_matrix_comes_through_as_its_lists(tmp_path):
    matrix = sparse.random(5, 4, 0.5, "csr", np.float32, rng=0)
    state = {"_shape": (5, 4), "indptr": matrix.indptr, "indices": matrix.indices}
    rows = unpickle.SparseRows()
    rows.state = state | {"data": matrix.data}
    expected = matrix.tocoo()
    for found, wanted in zip(
        rows.lists(), (expected.row, expected.col, expected.data), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert rows.shape == (5, 4)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Asks(os.system, "touch reprise-was-run"), r"(posix|nt)\.system"),
        (Asks(eval, "1"), r"(__builtin__|builtins)\.eval"),
        (Asks(getattr, [], "append"), r"getattr"),
        (collections.OrderedDict(a=1), r"collections\.OrderedDict"),
    ],
)
def test_whatever_else_is_asked_for_is_refused_by_name(tmp_path, value, name):
    with pytest.raises(DataError, match=rf"it asks for \S*{name}, which no array needs"):
        unpickle.load(written(tmp_path, value))
    assert not Path("reprise-was-run").exists()


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(DataError, match="an array of the dtype object"):
        unpickle.load(written(tmp_path, np.array([{}], object)))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(np.ones(9), 3)[:-20]])
def test_what_is_no_pickle_is_said_in_one_line(tmp_path, content):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken is no pickle of arrays") as caught:
        unpickle.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        unpickle.load(tmp_path / "absent")


def test_an_array_is_made_of_counted_bytes_alone(tmp_path):
    """numpy.ndarray called with a buffer would take objects' addresses from the file."""
    path = tmp_path / "x.pickle"
    path.write_bytes(b"cnumpy\nndarray\n((I1\ntX\x01\x00\x00\x00OC\x08AAAAAAAAtR.")
    with pytest.raises(DataError, match="is no pickle of arrays"):
        unpickle.load(path)
    array = pickle.dumps(np.arange(3, dtype=np.int64), 3)
    assert b"K\x03\x85" in array
    path.write_bytes(array.replace(b"K\x03\x85", b"K\x7f\x85"))
    with pytest.raises(DataError, match=r"shape \(127,\) with 3 numbers"):
        unpickle.load(path)
