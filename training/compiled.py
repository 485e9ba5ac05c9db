"""The only caller of `jit`: an algorithm's functions, compiled for one mesh.

`fit`, the evaluators and the tools go through `Compiled`. Shapes come first, then a jitted `init`
with its output shardings, so that no array is ever whole on one device; the update donates the
state and pins its shardings.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

from training import mesh as meshes
from training import placement, selection
from training.config import Train
from training.contracts import Algorithm, Batch, ConfigError, Means, Pipeline, TrainState, stream
from training.packing import Packed
from training.selection import Selection, freeze
from training.stopping import build as build_rule


class Compiled:
    """An algorithm on a mesh: `init`, `update`, `evaluate`, `predict`, `explain`, `generate`,
    `select`.

    An abstract mesh has shapes and placements, and nothing that runs.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        pipeline: Pipeline,
        mesh: jax.sharding.Mesh,
        train: Train,
        rules: tuple[tuple[Any, ...], ...] = (),
    ) -> None:
        self.algorithm, self.mesh, self.train, self.rules = algorithm, mesh, train, rules
        self.pipeline = pipeline
        self.members = algorithm.members
        self.selects = bool(train.select.metric)
        self.stops = train.stopping.rule != "none"
        if (self.stops or train.test_weights == "best") and not self.selects:
            raise ConfigError(
                "train.stopping and train.test_weights='best' need train.select.metric "
                "(such as 'val/accuracy')"
            )
        self._init_rule, self._rule = build_rule(train.select, train.stopping)
        # Axes before the batch's own: members with data of their own.
        self.leading = int(self.members > 1 and train.ensemble_data == "own")
        for specs in pipeline.specs:
            meshes.check_batch(specs, mesh, self.leading)
        self.replicated = NamedSharding(mesh, P())
        self._updates: dict[Any, Callable[..., Any]] = {}

    @cached_property
    def constant(self) -> dict[str, jax.Array]:
        """The arrays that every batch shares, whole on every device."""
        return meshes.put(self.pipeline.constant, self.replicated)

    @cached_property
    def constant_specs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Their shapes, for devices that are not here."""
        return {
            k: jax.ShapeDtypeStruct(
                v.shape, jax.dtypes.canonicalize_dtype(v.dtype), sharding=self.replicated
            )
            for k, v in self.pipeline.constant.items()
        }

    @cached_property
    def shapes(self) -> TrainState:
        """The state's shapes, from one abstract evaluation of `init`."""
        with self._on_mesh():
            return jax.eval_shape(self._init, np.int32(0), self._example())

    @cached_property
    def shardings(self) -> TrainState:
        """A NamedSharding for each array of the state."""
        placement.check(self.rules, self.shapes)
        return placement.place(self.shapes, self.mesh, self.rules, int(self.members > 1))

    def _on_mesh(self) -> Any:
        return nullcontext() if isinstance(self.mesh, AbstractMesh) else jax.set_mesh(self.mesh)

    def _example(self) -> dict[str, Any]:
        arrays = {**self.pipeline.specs[0], **self.constant_specs}
        return {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in arrays.items()}

    def _init(self, seed: jax.Array, example: Batch) -> TrainState:
        return self.algorithm.init(jax.random.key(seed), example)

    def init(self, seed: int) -> TrainState:
        """The state before the first update, made in place on the mesh."""
        return self.compile_init()(np.int32(seed))

    def compile_init(self) -> Any:
        """The compiled `init` of a seed (int32), whose arrays are made where they stay."""

        def init(seed: jax.Array) -> TrainState:
            zeros = {k: jnp.zeros(v.shape, v.dtype) for k, v in self._example().items()}
            return self._init(seed, zeros)

        cpu = self.mesh.devices.flat[0].platform == "cpu"
        # It runs once: XLA:CPU would optimise a ResNet's first draws for 20 s.
        options: Any = {"xla_backend_optimization_level": 0} if cpu else None
        with jax.set_mesh(self.mesh):
            return jax.jit(init, out_shardings=self.shardings).lower(np.int32(0)).compile(options)

    @cached_property
    def selection_shapes(self) -> Selection:
        """Shapes of the selection's arrays."""
        return jax.eval_shape(self._init_selection, self.shapes)

    @cached_property
    def selection_shardings(self) -> Selection:
        """Placed by the same rules as the state."""
        return placement.place(self.selection_shapes, self.mesh, self.rules, int(self.members > 1))

    def _init_selection(self, state: TrainState) -> Selection:
        weights = self.algorithm.weights(state) if self.selects else None
        return selection.first(self._init_rule(self.members), weights, self.members)

    def init_selection(self, state: TrainState) -> Selection:
        """Nothing selected, nobody stopped."""
        with jax.set_mesh(self.mesh):
            return once(self._init_selection, state, out_shardings=self.selection_shardings)

    # --- updates

    def spec_key(self, batch: Mapping[str, Any]) -> tuple[Any, ...]:
        """Tells batches of different shapes apart."""
        return tuple(sorted((k, tuple(v.shape), str(v.dtype)) for k, v in batch.items()))

    def stacked_specs(
        self, specs: Mapping[str, jax.ShapeDtypeStruct]
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes that one call takes: [steps_per_call, batches_per_update, ...] where not 1."""
        axes = self._stack_axes()
        sharding = meshes.batch_sharding(self.mesh, len(axes) + self.leading)
        return {
            k: jax.ShapeDtypeStruct((*axes, *v.shape), v.dtype, sharding=sharding)
            for k, v in specs.items()
        }

    def _stack_axes(self) -> tuple[int, ...]:
        return tuple(
            n for n in (self.train.steps_per_call, self.algorithm.batches_per_update) if n > 1
        )

    def put_stacked(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Places what one call takes."""
        return meshes.put(
            batch, meshes.batch_sharding(self.mesh, len(self._stack_axes()) + self.leading)
        )

    def compile_update(self, specs: Mapping[str, jax.ShapeDtypeStruct]) -> Any:
        """The compiled update for batches of `specs`; compiled once and kept."""
        stacked = self.stacked_specs(specs)
        key = self.spec_key(stacked)
        if key not in self._updates:
            with jax.set_mesh(self.mesh):
                self._updates[key] = self.trace_update(stacked).lower().compile()
        return self._updates[key]

    def trace_update(self, stacked: Mapping[str, jax.ShapeDtypeStruct]) -> Any:
        """The traced update for the shapes that one call takes: its jaxpr, and what lowers it."""
        jitted = jax.jit(
            self._update,
            donate_argnums=0,
            in_shardings=(self.shardings, self.replicated, None, self.replicated),
            out_shardings=(self.shardings, self.replicated),
            compiler_options=meshes.compiler_options(self.mesh),
        )
        active = jax.ShapeDtypeStruct((self.members,), bool)
        with jax.set_mesh(self.mesh):
            return jitted.trace(self.shapes, active, dict(stacked), self.constant_specs)

    def update(self, state: TrainState, batch: Mapping[str, jax.Array], active: Any) -> Any:
        """One call: (state, Packed means) of `steps_per_call` updates of `active` [m] members."""
        executable = self._updates.get(self.spec_key(batch))
        if executable is None:
            sizes = len(self._stack_axes())
            specs = {k: jax.ShapeDtypeStruct(v.shape[sizes:], v.dtype) for k, v in batch.items()}
            executable = self.compile_update(specs)
        return executable(state, active, batch, self.constant)

    def _update(
        self, state: TrainState, active: jax.Array, batch: Batch, constant: Batch
    ) -> tuple[TrainState, Packed]:
        def one(state: TrainState, batch: Batch) -> tuple[TrainState, Means]:
            new, means = self.algorithm.update(state, {**batch, **constant})
            return (freeze(active, new, state, self.members) if self.stops else new), means

        if self.train.steps_per_call == 1:
            state, means = one(state, batch)
        else:
            state, means = jax.lax.scan(one, state, batch, length=self.train.steps_per_call)
            means = jax.tree.map(lambda a: a.sum(0), means)
        return state, Packed.of(means)

    # --- evaluation

    def put(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """This process's part of one evaluation batch, on the devices."""
        if all(isinstance(v, jax.Array) for v in batch.values()):
            return dict(batch)
        return meshes.put(batch, meshes.batch_sharding(self.mesh, meshes.member_axes(batch)))

    def evaluate(self, state: TrainState, batch: Mapping[str, Any], key: jax.Array) -> Means:
        """`algorithm.evaluate` on one batch."""
        return self._call("evaluate", state, batch, key)

    def trace_evaluate(self, specs: Mapping[str, jax.ShapeDtypeStruct]) -> Any:
        """The traced `evaluate` for batches of `specs`, for devices that need not be here."""
        batches = meshes.batch_sharding(self.mesh, meshes.member_axes(specs))
        placed = {
            k: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=batches) for k, v in specs.items()
        }
        state = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            self.shapes, self.shardings,
        )  # fmt: skip
        key = jax.eval_shape(lambda: jax.random.key(0))
        with jax.set_mesh(self.mesh):
            return self._functions["evaluate"].trace(state, placed, self.constant_specs, key, ())

    def predict(self, state: TrainState, batch: Batch, key: jax.Array) -> dict[str, Any]:
        """`algorithm.predict` on one batch."""
        return self._call("predict", state, batch, key)

    def explain(
        self, state: TrainState, batch: Batch, key: jax.Array, only: str = ""
    ) -> dict[str, Any]:
        """`algorithm.explain` on one batch; {} where the algorithm has none.

        Args:
          only: the one array that is asked for, "" for all: others may not fit the memory.
        """
        explains = hasattr(self.algorithm, "explain")
        return self._call("explain", state, batch, key, only=only) if explains else {}

    def generate(
        self, state: TrainState, batch: Batch, key: jax.Array, **options: Any
    ) -> dict[str, Any]:
        """`algorithm.generate` on one batch; each choice of options is a program of its own."""
        return self._call("generate", state, batch, key, **options)

    def program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of placed arrays, compiled on this mesh for each shape that it meets."""
        jitted = jax.jit(function, compiler_options=meshes.compiler_options(self.mesh))

        def run(*arrays: Any) -> Any:
            with jax.set_mesh(self.mesh):
                return jitted(*arrays)

        return run

    def _call(
        self,
        name: str,
        state: TrainState,
        batch: Mapping[str, Any],
        key: jax.Array,
        **options: Any,
    ) -> Any:
        fixed = tuple(sorted(options.items()))
        with jax.set_mesh(self.mesh):
            return self._functions[name](state, self.put(batch), self.constant, key, fixed)

    @cached_property
    def _functions(self) -> dict[str, Any]:
        def jitted(name: str) -> Any:
            method = getattr(self.algorithm, name)
            outputs = self.replicated if name == "evaluate" else None

            def run(state: Any, batch: Any, constant: Any, key: Any, options: Any) -> Any:
                chosen = dict(options)
                only = chosen.pop("only", "")
                found = method(state, {**batch, **constant}, key, **chosen)
                return {k: v for k, v in found.items() if k == only} if only else found

            return jax.jit(
                run,
                static_argnums=4,
                out_shardings=outputs,
                compiler_options=meshes.compiler_options(self.mesh),
            )

        names = ("evaluate", "predict", "explain", "generate")
        return {name: jitted(name) for name in names if hasattr(self.algorithm, name)}

    # --- selection

    def select(
        self, before: Selection, state: TrainState, metrics: Mapping[str, Any], step: int
    ) -> Selection:
        """The selection after an evaluation whose `metrics` are {"val/accuracy": [m]} at `step`."""
        arrays = {k: np.asarray(v, np.float32).reshape(self.members) for k, v in metrics.items()}
        with jax.set_mesh(self.mesh):
            return self._select(before, state, arrays, np.int32(step))

    @cached_property
    def _select(self) -> Callable[..., Selection]:
        metric = self.train.select.metric

        def select(before: Selection, state: TrainState, metrics: Any, step: Any) -> Selection:
            weights = self.algorithm.weights(state)
            return selection.after(self._rule, before, weights, metrics, metric, step)

        return jax.jit(select, donate_argnums=0, out_shardings=self.selection_shardings)

    def chosen(self, state: TrainState, chosen: Selection) -> TrainState:
        """The weights that are tested: the last, or by member the best that were selected."""
        if self.train.test_weights == "last":
            return state
        return self.best(self.algorithm.weights(state), chosen)

    def best(self, weights: TrainState, chosen: Selection) -> TrainState:
        """By member, the selected weights, or `weights` where none were selected yet."""
        return freeze(chosen.step >= 0, chosen.best, weights, self.members)


def once(function: Callable[..., Any], *arrays: Any, out_shardings: Any = None) -> Any:
    """The result of a function that runs once in a while, compiled."""
    return jax.jit(function, out_shardings=out_shardings)(*arrays)


def evaluation_key(state: TrainState, name: str, batch: int) -> jax.Array:
    """The key of one evaluation batch: the run's, never a member's, so that all see the same."""
    key = state.key if state.key.ndim == 0 else state.key[0]
    return stream(key, name, batch)
