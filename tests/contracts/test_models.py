"""Every model, found by listing the tree: shapes, precision, gradients, one trace a program."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms import supervised
from tests.contracts import examples
from tests.contracts.examples import BATCH
from tests.models import run
from tools import find
from training import optimizers
from training.contracts import TrainState

NAMES = find.names("model")
KEY = jax.random.key(0)

# Another value for each field of a Config: a field that changes nothing is one that does nothing.
# A value that is refused was read. Beside it stand the other fields that it needs to matter.
_BLOCKS = {"pattern": "bigbird", "block_size": 1, "global_blocks": 1, "random_blocks": 1}
OTHER: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "graph.gcn": {
        "hidden": (5, {}),
        "depth": (3, {}),
        "dropout_rate": (0.1, {}),
        "use_bias": (True, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.gat": {
        "version": (2, {}),
        "hidden": (4, {}),
        "heads": (3, {}),
        "output_heads": (2, {}),
        "depth": (3, {}),
        "dropout_rate": (0.1, {}),
        "attention_dropout_rate": (0.1, {}),
        "negative_slope": (0.3, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.graphsage": {
        "aggregator": ("pool", {}),
        "hidden": (6, {}),
        "depth": (3, {}),
        "dropout_rate": (0.1, {}),
        "normalise": (False, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.rgcn": {
        "hidden": (5, {}),
        "depth": (3, {}),
        "bases": (3, {}),
        "dropout_rate": (0.1, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.gin": {
        "hidden": (9, {}),
        "depth": (4, {}),
        "mlp_depth": (1, {}),
        "epsilon": ("learned", {}),
        "pool": ("mean", {}),
        "dropout_rate": (0.1, {}),
        "norm_momentum": (0.5, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.mpnn": {
        "hidden": (7, {}),
        "edge_hidden": (6, {}),
        "steps": (1, {}),
        "readings": (1, {}),
        "head_hidden": (8, {}),
        "dropout_rate": (0.1, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.gae": {
        "variational": (True, {}),
        "hidden": (7, {}),
        "embedding": (5, {}),
        "dropout_rate": (0.1, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.graph_transformer": {
        "width": (12, {}),
        "depth": (3, {}),
        "heads": (4, {}),
        "positions": ("none", {}),
        "edge_features": (False, {}),
        "norm": ("layer", {}),
        "pool": ("sum", {}),
        "dropout_rate": (0.1, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.graphormer": {
        "width": (12, {}),
        "depth": (3, {}),
        "heads": (4, {}),
        "mlp_width": (9, {}),
        "max_nodes": (65, {}),
        "max_degree": (5, {}),
        "max_distance": (4, {}),
        "edge_features": (False, {}),
        "dropout_rate": (0.2, {}),
        "attention_dropout_rate": (0.2, {}),
        "dtype": ("bfloat16", {}),
    },
    "graph.knowledge_graph": {
        "scorer": ("complex", {}),
        "width": (10, {}),
        "init_std": (0.2, {}),
        "reciprocal": (True, {}),
        "dropout_rate": (0.1, {"encoder": "rgcn", "depth": 2}),
        "encoder": ("rgcn", {}),
        "depth": (3, {"encoder": "rgcn"}),
        "bases": (3, {"encoder": "rgcn"}),
        "dtype": ("bfloat16", {}),
    },
    "text.gpt": {
        "width": (24, {}),
        "depth": (3, {}),
        "heads": (4, {}),
        "kv_heads": (1, {}),
        "mlp_width": (40, {}),
        "max_length": (16, {}),
        "positions": ("rotary", {}),
        "pattern": ("window", {}),
        "window": (3, {"pattern": "window"}),
        "block_size": (4, {"pattern": "bigbird"}),
        "global_blocks": (0, _BLOCKS),
        "window_blocks": (1, _BLOCKS),
        "random_blocks": (0, {**_BLOCKS, "window_blocks": 1}),
        "use_bias": (False, {}),
        "tied": (False, {}),
        "dropout_rate": (0.5, {}),
        "attention_dropout_rate": (0.5, {}),
        "scan_layers": (True, {}),
        "remat": ("full", {}),
        "attention_kernel": ("none such", {}),
        "dtype": ("bfloat16", {}),
    },
    "text.bert": {
        "head": ("none such", {}),
        "width": (24, {}),
        "depth": (3, {}),
        "heads": (4, {}),
        "mlp_width": (40, {}),
        "max_length": (16, {}),
        "token_types": (0, {}),
        "pool": ("mean", {}),
        "pooler": ("none such", {}),
        "dropout_rate": (0.5, {}),
        "attention_dropout_rate": (0.5, {}),
        "scan_layers": (True, {}),
        "remat": ("full", {}),
        "attention_kernel": ("none such", {}),
        "dtype": ("bfloat16", {}),
    },
    "text.transformer": {
        "width": (24, {}),
        "depth": (3, {}),
        "decoder_depth": (1, {}),
        "heads": (4, {}),
        "mlp_width": (40, {}),
        "max_length": (16, {"positions": "learned"}),
        "positions": ("learned", {}),
        "norm": ("pre", {}),
        "shared": ("none", {}),
        "embedding_std": (0.5, {}),
        "position_std": (0.5, {"positions": "learned"}),
        "dropout_rate": (0.5, {}),
        "hidden_dropout_rate": (0.5, {}),
        "attention_dropout_rate": (0.5, {}),
        "scan_layers": (True, {}),
        "remat": ("full", {}),
        "attention_kernel": ("none such", {}),
        "dtype": ("bfloat16", {}),
    },
    "text.rnn": {
        "head": ("none such", {}),
        "cell": ("gru", {}),
        "embedding_width": (10, {}),
        "width": (14, {}),
        "depth": (1, {}),
        "bidirectional": (True, {}),
        "pool": ("none such", {}),
        "embedding_std": (0.5, {}),
        "dropout_rate": (0.5, {}),
        "dtype": ("bfloat16", {}),
    },
    "text.rnn_seq2seq": {
        "cell": ("lstm", {}),
        "embedding_width": (10, {}),
        "width": (14, {}),
        "depth": (1, {}),
        "bidirectional": (False, {}),
        "attention": ("luong", {}),
        "init_std": (0.5, {}),
        "dropout_rate": (0.1, {}),
        "dtype": ("bfloat16", {}),
    },
    "vision.cnn": {
        "features": ((4, 9), {}),
        "hidden": (17, {}),
        "dropout_rate": (0.5, {}),
        "dtype": ("bfloat16", {}),
    },
    "vision.resnet": {
        "family": ("imagenet", {"depth": 50}),
        "depth": (14, {}),
        "width": (6, {}),
        "zero_init_residual": (True, {}),
        "norm_momentum": (0.5, {}),
        "dtype": ("bfloat16", {}),
    },
    "vision.vit": {
        "variant": ("S", {"width": None, "depth": 1}),
        "width": (24, {}),
        "depth": (3, {}),
        "heads": (4, {}),
        "mlp_width": (40, {}),
        "patch_size": (8, {}),
        "pool": ("gap", {}),
        "distilled": (True, {"pool": "token"}),
        "positions": ("sincos2d", {}),
        "position_std": (0.5, {}),
        "activation": ("gelu", {}),
        "norm_epsilon": (0.5, {}),
        "dropout_rate": (0.5, {}),
        "attention_dropout_rate": (0.5, {}),
        "stochastic_depth_rate": (0.5, {}),
        "scan_layers": (True, {}),
        "remat": ("full", {}),
        "attention_kernel": ("none such", {}),
        "dtype": ("bfloat16", {}),
    },
}


def task(name: str, **changes: Any) -> Any:
    """The field's task over a tiny model."""
    module = find.part("model", name)
    example = examples.of_model(name)
    model = module.build(module.Config(**{**module.TINY, **changes}), example.info)
    part = find.part("task", example.task)
    return part.build(part.Config(), model, example.info)


def batch(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    return examples.of_model(name).batch(seed)


def loss_fn(task: Any) -> Any:
    return lambda params, mutable, batch: task.loss(params, mutable, batch, KEY, jnp.int32(0), True)


@cache
def initial(name: str) -> tuple[Any, Any]:
    """(params with noise on them all, mutable): some start at zero, where nothing shows."""
    params, mutable = jax.device_get(run.jit(task(name).init)(KEY, batch(name)))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: a + 0.1 * rng.normal(size=a.shape).astype("f4"), params), mutable


@cache
def predicted(name: str, dtype: str) -> dict[str, Any]:
    """Predictions by a model of this precision, with the parameters of `initial`."""
    return run.jit(task(name, dtype=dtype).predict)(*initial(name), batch(name), KEY)


def test_models_are_found() -> None:
    assert {"vision.cnn", "vision.resnet", "vision.vit"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_file_has_what_every_part_has(name: str) -> None:
    module = find.part("model", name)
    assert dataclasses.is_dataclass(module.Config) and module.Config.__dataclass_params__.frozen
    fields = {f.name for f in dataclasses.fields(module.Config)}
    assert set(module.TINY) <= fields
    assert module.Config().dtype == "float32"
    documented = module.Config.__doc__ or ""
    assert not [f for f in fields if f not in documented]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_which_tasks_it_serves(name: str) -> None:
    module, example = find.part("model", name), examples.of_model(name)
    model = module.build(module.Config(**module.TINY), example.info)
    assert example.task in model.tasks and set(model.tasks) <= set(find.names("task"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_parameters_and_outputs_are_float32_in_any_precision(name: str, dtype: str) -> None:
    start = jax.eval_shape(task(name, dtype=dtype).init, KEY, batch(name))
    assert {a.dtype for a in jax.tree.leaves(start)} <= {jnp.dtype("float32")}
    expected, found = predicted(name, "float32"), predicted(name, dtype)
    # Words that are written are ids, and one that is nearly as likely may take another's place.
    numbers = {key: array for key, array in found.items() if array.dtype != jnp.int32}
    assert all(len(array) == BATCH for array in found.values())
    for key, array in numbers.items():
        assert array.dtype == jnp.float32, key
        if len(numbers) == len(found):
            np.testing.assert_allclose(array, expected[key], atol=0.15, rtol=0.15)
    # Ranks may be the same in any precision, but not all that is predicted.
    same = [np.array_equal(array, expected[key]) for key, array in numbers.items()]
    assert all(same) == (dtype == "float32")


@pytest.mark.parametrize("name", NAMES)
def test_init_is_random_by_its_key_alone(name: str) -> None:
    init = run.jit(task(name).init)
    first, again, other = (init(jax.random.key(seed), batch(name))[0] for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    same = jax.tree.map(np.array_equal, first, other)
    assert not all(jax.tree.leaves(same))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_finite_and_reach_every_parameter(name: str, dtype: str) -> None:
    made, (params, mutable) = task(name, dtype=dtype), initial(name)
    gradient, aux = run.jit(jax.grad(loss_fn(made), has_aux=True))(params, mutable, batch(name))
    for path, array in jax.tree_util.tree_leaves_with_path(gradient):
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(array).all(), where
        # A softmax over keys does not see what all keys have in common.
        assert np.any(array) or where.endswith("attention/key/bias"), where
    assert jax.tree.map(jnp.shape, aux.mutable) == jax.tree.map(jnp.shape, mutable)


@pytest.mark.parametrize("name", NAMES)
def test_one_trace_serves_many_steps_and_the_loss_falls(name: str) -> None:
    example = examples.of_model(name)
    made = task(name, **example.without)
    config = optimizers.Config(name="adam", learning_rate=example.learning_rate)
    algorithm = supervised.build(supervised.Config(), made, optimizers.build(config, 20))
    data, traces = batch(name), 0

    @run.jit
    def update(state: TrainState, batch: Any) -> Any:
        nonlocal traces
        traces += 1
        return algorithm.update(state, batch)

    state, losses = run.jit(algorithm.init)(KEY, data), []
    for _ in range(20):
        state, metrics = update(state, data)
        losses.append(float(metrics["loss"].compute()))
        assert metrics["nonfinite"].compute() == 0
    assert traces == 1 and state.step == 20
    assert losses[-1] < example.left * losses[0]


@pytest.mark.parametrize("name", [n for n in NAMES if examples.of_model(n).inputs])
def test_examples_do_not_see_each_other_in_evaluation(name: str) -> None:
    """The derivative of the first example's logits by all other examples is zero."""
    made, (params, mutable), data = task(name), initial(name), batch(name)
    key = examples.of_model(name).inputs

    def first(inputs: jax.Array) -> jax.Array:
        return made.predict(params, mutable, {**data, key: inputs}, KEY)["logits"][0].sum()

    gradient = run.jit(jax.grad(first))(jnp.asarray(data[key]))
    assert np.any(gradient[0]) and not np.any(gradient[1:])


def program(name: str, changes: dict[str, Any]) -> str:
    """What a config computes, as text: its init and its training loss."""
    made, data = task(name, **changes), batch(name)
    init = jax.make_jaxpr(made.init)(KEY, data)
    params, mutable = jax.eval_shape(made.init, KEY, data)
    return f"{init} {jax.make_jaxpr(loss_fn(made))(params, mutable, data)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_config_does_something(name: str) -> None:
    module = find.part("model", name)
    assert name in OTHER, f"{__file__}: give {name} another value for each field"
    assert set(OTHER[name]) == {f.name for f in dataclasses.fields(module.Config)}
    plain = program(name, {})
    for field, (value, around) in OTHER[name].items():
        try:
            changed = program(name, {**around, field: value})
        except ValueError as error:
            assert str(value) in str(error), field
            continue
        assert changed != (program(name, around) if around else plain), field
