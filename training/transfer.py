"""Weights of another run as the start of this one, as far as paths and shapes agree.

Only `params` and `mutable` are taken; step, key and optimizer begin anew. An array whose path is
not there, or has another shape, keeps its fresh values (a new head). A table of positions of
another length is interpolated: over two dimensions where both lengths are squares, class tokens
apart, as Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.2 does, else over one. A text's
positions (those beside a table of `tokens`) are no grid: the first ones are taken as they are.
"""

import dataclasses
import functools
import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from training import config as configs
from training import vocabulary
from training.checkpoint import Checkpoints
from training.compiled import once
from training.contracts import ConfigError, DataError, TrainState
from training.folder import read_json
from training.trees import named, nested, path_name
from training.vocabulary import Vocabularies

PARTS = ("params", "mutable")
POSITIONS = re.compile(r"(^|[/_])(pos|position|positions|posemb|pos_embedding)([/_]|$)")
log = logging.getLogger("reprise")


def start_from(state: TrainState, source: str) -> TrainState:
    """`state`, fresh from `init`, with the weights of `source`: a run's folder, or DIR@STEP.

    Copies of the parameters in the rest of the state (an average, a target network) follow them.

    Raises:
      ConfigError: there is no such checkpoint, or nothing of it fits.
      DataError: it is damaged.
    """
    checkpoints, step = _open(source)
    try:
        have = _shapes({k: v for k, v in checkpoints.shapes(step).items() if k in PARTS})
        fresh = named({part: getattr(state, part) for part in PARTS})
        same = {n: a for n, a in fresh.items() if n in have and have[n].shape == a.shape}
        resized = {n: a for n, a in fresh.items() if n in have and _is_longer(n, have[n], a)}
        if not same and not resized:
            raise ConfigError(
                f"train.init_from={source}: nothing fits: there {_some(have)}; here {_some(fresh)}"
            )
        wanted = {n: _spec(a.shape, a) for n, a in same.items()}
        wanted |= {n: _spec(have[n].shape, a, whole=True) for n, a in resized.items()}
        taken = named(checkpoints.restore_some(step, nested(wanted)))
    finally:
        checkpoints.close()
    for name, array in resized.items():
        if _of_text(name, fresh):
            taken[name] = once(first_positions, taken[name], array, out_shardings=array.sharding)
        else:
            resize = functools.partial(resize_positions, length=array.shape[-2])
            taken[name] = once(resize, taken[name], out_shardings=array.sharding)
    _tell(source, step, have, fresh, resized, taken)
    return _with(state, taken)


def check(source: str, model: Mapping[str, Any], vocabularies: Vocabularies) -> None:
    """Raises ConfigError where `source`, if any, has no checkpoints: known before compiling.

    Where its section `model` says something else than `model`, one line says so: heads or an
    epsilon that differ would fit by their shapes. Another vocabulary is a warning.
    """
    if not source:
        return
    folder, _ = _split(source)
    if not (epath.Path(folder) / "checkpoints").is_dir():
        raise ConfigError(
            f"train.init_from={source}: {folder} holds no checkpoints of a run (of published "
            f"weights it is made by python -m tools.import_weights --from=DIR --out={folder})"
        )
    path = epath.Path(folder) / "config.json"
    there = read_json(path).get("model", {}) if path.exists() else {}
    if there and model:
        differing = [
            f"{key} {now!r} (there {before!r})"
            for key, (before, now) in configs.differences(there, model).items()
        ]
        log.info("the model of %s differs in: %s", source, ", ".join(differing) or "nothing")
    vocabulary.warn(epath.Path(folder), vocabularies)


def _split(source: str) -> tuple[str, str]:
    """(folder, digits of the step or "")."""
    folder, at, text = source.rpartition("@")
    return (folder, text) if at and text.isdigit() else (source, "")


def _open(source: str) -> tuple[Checkpoints, int]:
    """The source's checkpoints, and the step that is meant."""
    check(source, {}, {})
    folder, text = _split(source)
    checkpoints = Checkpoints(folder, read_only=True)
    step = int(text) if text else checkpoints.latest()
    if step not in checkpoints.steps():
        steps = checkpoints.steps()
        checkpoints.close()
        raise ConfigError(f"train.init_from={source}: its checkpoints are of the steps {steps}")
    fault = checkpoints.fault(step) if text else None
    if fault:
        checkpoints.close()
        raise DataError(f"train.init_from={source} is damaged: {fault}")
    return checkpoints, step


def _of_text(name: str, fresh: Mapping[str, Any]) -> bool:
    """Whether a table of positions stands beside the table of a vocabulary."""
    return POSITIONS.sub(r"\1tokens\3", name) in fresh


def first_positions(table: jax.Array, fresh: jax.Array) -> jax.Array:
    """A table [..., l, d] whose first positions are `table`'s, and the rest `fresh`'s."""
    kept = min(table.shape[-2], fresh.shape[-2])
    return fresh.at[..., :kept, :].set(table[..., :kept, :])


def resize_positions(table: jax.Array, length: int) -> jax.Array:
    """A table of positions [..., l, d] for `length` positions, by linear interpolation."""
    *leading, before, width = table.shape
    extra = _class_tokens(before, length)
    if extra is None:
        return jax.image.resize(table, (*leading, length, width), "linear")
    kept, grid = table[..., :extra, :], table[..., extra:, :]
    side, new = math.isqrt(before - extra), math.isqrt(length - extra)
    grid = grid.reshape(*leading, side, side, width)
    grid = jax.image.resize(grid, (*leading, new, new, width), "linear")
    return jnp.concatenate([kept, grid.reshape(*leading, new * new, width)], -2)


def _class_tokens(before: int, after: int) -> int | None:
    """Tokens (up to 2) without a place beside two square grids; None where they are not square."""
    square = [e for e in (0, 1, 2) if all(math.isqrt(n - e) ** 2 == n - e for n in (before, after))]
    return square[0] if square else None


def _is_longer(name: str, there: Any, here: Any) -> bool:
    """Whether both are tables of positions that differ in their length alone."""
    a, b = there.shape, here.shape
    same = len(a) == len(b) >= 2 and a[:-2] == b[:-2] and a[-1] == b[-1]
    return POSITIONS.search(name) is not None and same and a != b


def _tell(
    source: str,
    step: int,
    have: Mapping[str, Any],
    fresh: Mapping[str, Any],
    resized: Mapping[str, Any],
    taken: Mapping[str, Any],
) -> None:
    """One log line: what was taken, resized, left fresh and left there."""
    grown = [f"{n} {have[n].shape} to {a.shape}" for n, a in resized.items()]
    left = [
        f"{n} {a.shape}" + (f" (there {have[n].shape})" if n in have else "")
        for n, a in fresh.items()
        if n not in taken
    ]
    unused = [n for n in have if n not in fresh]
    log.info(
        "weights of %s, step %d: %d of %d arrays taken; resized: %s; left fresh: %s; not used: %s",
        source, step, len(taken) - len(grown), len(fresh),
        *(", ".join(names) or "none" for names in (grown, left, unused)),
    )  # fmt: skip


def _with(state: TrainState, taken: Mapping[str, Any]) -> TrainState:
    """The state with arrays replaced by name, and copies of the replaced parameters likewise."""
    rest = {"opt_state": state.opt_state, "carry": state.carry}
    params = {n.removeprefix("params/"): a for n, a in named({"params": state.params}).items()}
    copies = _copies(named(rest), params)
    new = {
        **taken,
        # Copied: the update donates both, and they must not be one buffer.
        **{name: jnp.copy(taken[f"params/{of}"]) for name, of in copies.items()
           if f"params/{of}" in taken},
    }  # fmt: skip

    def replace(path: Any, leaf: Any) -> Any:
        return new.get(path_name(path), leaf)

    parts = {part: getattr(state, part) for part in (*PARTS, *rest)}
    return dataclasses.replace(state, **jax.tree_util.tree_map_with_path(replace, parts))


def _copies(rest: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, str]:
    """{path of an array: path of the parameter} where a whole branch equals the parameters.

    A branch of zeros (momentum, beside parameters that start at zero) is none.
    """
    branches: dict[str, dict[str, str]] = {}
    for name, array in rest.items():
        for of in sorted(params, key=len, reverse=True):
            if name.endswith(f"/{of}") and params[of].shape == array.shape:
                branches.setdefault(name.removesuffix(of), {})[name] = of
                break
    found: dict[str, str] = {}
    for branch in branches.values():
        pairs = [(rest[name], params[of]) for name, of in branch.items()]
        if bool(once(_equal_and_not_zero, pairs)):
            found.update(branch)
    return found


def _equal_and_not_zero(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    equal = jnp.stack([(a == b).all() for a, b in pairs]).all()
    return equal & jnp.stack([(a != 0).any() for a, _ in pairs]).any()


def _spec(shape: tuple[int, ...], like: jax.Array, whole: bool = False) -> jax.ShapeDtypeStruct:
    """Where a restored array goes: to its fresh array's place, or `whole` to every device."""
    sharding: Any = like.sharding
    if whole and isinstance(sharding, jax.sharding.NamedSharding):
        sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return jax.ShapeDtypeStruct(shape, like.dtype, sharding=sharding)


def _shapes(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{path: what has a shape} of nested dicts; other containers cannot be restored in part."""
    if isinstance(tree, Mapping):
        parts = [_shapes(v, f"{prefix}{k}/") for k, v in tree.items()]
        return {name: leaf for part in parts for name, leaf in part.items()}
    return {prefix[:-1]: tree} if hasattr(tree, "shape") else {}


def _some(arrays: Mapping[str, Any]) -> str:
    texts = [f"{name} {tuple(a.shape)}" for name, a in list(arrays.items())[:3]]
    return ", ".join(texts) + (", ..." if len(arrays) > 3 else "")
