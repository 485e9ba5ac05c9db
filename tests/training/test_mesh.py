"""Meshes: what fits, what is told where one does not, and which process reads what of a batch."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from training import mesh
from training.config import Mesh
from training.contracts import ConfigError


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        (Mesh(), (8, 1, 1, 1)),
        (Mesh(data=1, fsdp=-1), (1, 8, 1, 1)),
        (Mesh(fsdp=2, tensor=2), (2, 2, 2, 1)),
        (Mesh(data=2, sequence=-1), (2, 1, 1, 4)),
        (Mesh(data=1, fsdp=2, tensor=2, sequence=2), (1, 2, 2, 2)),
    ],
)
def test_minus_one_takes_the_rest(asked, sizes):
    assert mesh.sizes(asked, 8) == sizes
    grid = mesh.abstract(asked, 8)
    assert grid.axis_names == ("data", "fsdp", "tensor", "sequence")
    assert tuple(grid.shape.values()) == sizes


def test_axes_are_auto():
    """Explicit ones, JAX's default, break Linen's Dropout."""
    assert set(mesh.make(Mesh()).axis_types) == {AxisType.Auto}
    assert set(mesh.abstract(Mesh(), 8).axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Mesh(data=3), "does not fit 8 devices: mesh.data=8 would"),
        (Mesh(fsdp=3), "mesh.fsdp=2 or mesh.fsdp=4 would"),
        (Mesh(data=4, fsdp=4), "mesh.data=2 or mesh.fsdp=2 would"),
        (
            Mesh(data=2, tensor=2),
            "mesh.data=4 or mesh.fsdp=2 or mesh.tensor=4 or mesh.sequence=2 would",
        ),
        (Mesh(data=3, fsdp=5), "one size of -1 takes the rest, and the others are of 1, 2, 4, 8"),
        (Mesh(data=-1, fsdp=-1), "one of them may be -1"),
        (Mesh(data=0), "every size is at least 1"),
        (Mesh(tensor=-2), "every size is at least 1"),
    ],
)
def test_a_mesh_that_does_not_fit_is_told_which_would(asked, told):
    with pytest.raises(ConfigError) as error:
        mesh.sizes(asked, 8)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("asked", [Mesh(data=4, fsdp=4), Mesh(fsdp=3), Mesh(data=2, tensor=2)])
def test_what_is_told_fits(asked):
    with pytest.raises(ConfigError) as error:
        mesh.sizes(asked, 8)
    for change in str(error.value).partition("devices: ")[2].removesuffix(" would").split(" or "):
        axis, size = change.removeprefix("mesh.").split("=")
        kept = {a: getattr(asked, a) for a in mesh.AXES}
        assert np.prod(mesh.sizes(Mesh(**{**kept, axis: int(size)}), 8)) == 8


def test_a_batch_that_does_not_divide_is_told_which_would():
    spec = {"image": jax.ShapeDtypeStruct((12, 8), np.float32)}
    grid = mesh.abstract(Mesh(fsdp=2), 8)
    with pytest.raises(
        ConfigError, match=r"batch_size 12 does not divide over.* 8 parts.* 8 or 16"
    ):
        mesh.check_batch(spec, grid, 0)
    mesh.check_batch(spec, mesh.abstract(Mesh(fsdp=2, tensor=2), 8), 0)


def grid_of(asked: Mesh, processes: int, each: int):
    """A mesh of made-up devices."""
    devices = [SimpleNamespace(process_index=p) for p in range(processes) for _ in range(each)]
    shape = mesh.sizes(asked, len(devices))
    grid = np.array(devices, dtype=object).reshape(shape)
    return SimpleNamespace(devices=grid, shape=dict(zip(mesh.AXES, shape, strict=True)))


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (Mesh(), [(0, 4), (1, 4), (2, 4), (3, 4)]),
        (Mesh(data=2, fsdp=8), [(0, 4), (1, 4), (2, 4), (3, 4)]),
        (Mesh(tensor=2, sequence=2), [(0, 4), (1, 4), (2, 4), (3, 4)]),
        # A group of two processes holds the same examples.
        (Mesh(tensor=8), [(0, 2), (0, 2), (1, 2), (1, 2)]),
        (Mesh(tensor=4, sequence=4), [(0, 1)] * 4),
    ],
)
def test_processes_of_a_group_read_the_same_part(asked, read):
    grid = grid_of(asked, 4, 4)
    assert [mesh.part_of(grid, process) for process in range(4)] == read


@pytest.mark.parametrize(
    ("asked", "processes", "each"), [(Mesh(tensor=6), 3, 4), (Mesh(tensor=4), 2, 6)]
)
def test_a_group_that_ends_inside_a_process_is_an_error(asked, processes, each):
    grid = grid_of(asked, processes, each)
    with pytest.raises(ConfigError, match="one must be a multiple of the other"):
        for process in range(processes):
            mesh.part_of(grid, process)


def test_one_process_reads_all():
    assert mesh.reader(mesh.make(Mesh())) == (0, 1)
