"""N members at once are N separate runs, in all three ways, and stop one by one."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithms import ensemble
from tests.toys import acting, members, two_networks
from tests.toys.learning import stacked, update_batches
from training import mesh
from training.compiled import Compiled
from training.config import Mesh, Train
from training.contracts import ConfigError
from training.stopping import Select, Stopping
from training.stopping import build as build_rule

WAYS = ("vmap", "unroll", "loop")
SIZE, STEPS = 3, 6


def equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def arrays(state):
    """A state with its random keys as integers."""
    return state.replace(key=jax.random.key_data(state.key))


def assert_close(actual, expected, rtol=2e-5, atol=2e-6):
    check = lambda a, e: np.testing.assert_allclose(a, e, rtol, atol)  # noqa: E731
    jax.tree.map(check, actual, expected)


def runner(algorithm):
    """(key, first batch, batches [t, ...]) -> (state, metrics of the last update), jitted."""

    @jax.jit
    def run(key, first, batches):
        state = algorithm.init(key, first)
        state, metrics = jax.lax.scan(algorithm.update, state, batches, length=STEPS)
        return state, jax.tree.map(lambda leaf: leaf[-1], metrics)

    return run


def readings(algorithm):
    """(state, batch) -> what evaluate and predict give, compiled once."""
    key = jax.random.key(8)
    return jax.jit(lambda s, b: (algorithm.evaluate(s, b, key), algorithm.predict(s, b, key)))


TOYS = {"supervised": members, "acting": acting, "two_networks": two_networks}
KEY = jax.random.key(5)


@cache
def separate(name):
    """(algorithm, first batch, batches, evaluation batch, [what each separate run gives])."""
    toy = TOYS[name]
    inner = members.alone(ema_decay=0.9) if toy is members else toy.build()[0]
    pipeline = members.training() if toy is members else toy.build()[1]
    first, batches = next(pipeline.batches(0)), update_batches(inner, pipeline, STEPS)
    batch = next(toy.held_out().batches(0))
    run, read = runner(inner), readings(inner)
    alone = []
    for i in range(SIZE):
        state, metrics = run(jax.random.fold_in(KEY, i), first, batches)
        alone.append((arrays(state), metrics, *read(state, batch)))
    return inner, first, batches, batch, alone


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("name", TOYS)
def test_members_are_what_separate_runs_are(name, by):
    inner, first, batches, batch, alone = separate(name)
    algorithm = ensemble.build(ensemble.Config(SIZE, by), inner)
    state, metrics = runner(algorithm)(KEY, first, batches)
    assert algorithm.members == SIZE
    assert algorithm.batches_per_update == inner.batches_per_update
    assert_close((arrays(state), metrics, *readings(algorithm)(state, batch)), stacked(alone))
    jax.tree.map(
        np.testing.assert_array_equal, arrays(algorithm.member(state, 1)), pick(arrays(state), 1)
    )
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    assert any(not np.allclose(leaf[0], leaf[1]) for leaf in leaves), "members differ"


def pick(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@pytest.mark.parametrize("by", WAYS)
def test_members_may_have_data_of_their_own(by):
    algorithm, pipeline = members.build(SIZE, by, "own")
    batches = update_batches(algorithm, pipeline, STEPS)
    first = next(pipeline.batches(0))
    state, _ = runner(algorithm)(KEY, first, batches)
    run = runner(algorithm.algorithm)
    for i in range(SIZE):
        own = {name: leaf[:, i] for name, leaf in batches.items()}
        mine = {name: leaf[i] for name, leaf in first.items()}
        alone, _ = run(jax.random.fold_in(KEY, i), mine, own)
        assert_close(arrays(algorithm.member(state, i)), arrays(alone))


@pytest.mark.parametrize("by", WAYS)
def test_the_axis_of_own_data_comes_after_that_of_the_batches_of_an_update(by):
    inner, pipeline = two_networks.build()
    algorithm = ensemble.build(ensemble.Config(2, by, "own"), inner)
    states = [inner.init(jax.random.key(i), next(pipeline.batches(0))) for i in range(2)]
    own = [update_batches(inner, pipeline, 1, start)["value"][0] for start in (0, 50)]
    together = {"value": np.stack(own, axis=1)}
    state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    after, _ = jax.jit(algorithm.update)(state, together)
    update = jax.jit(inner.update)
    for i in range(2):
        alone, _ = update(states[i], {"value": own[i]})
        assert_close(arrays(algorithm.member(after, i)), arrays(alone))


def test_evaluation_data_are_shared_unless_the_mask_is_by_member():
    algorithm, pipeline = members.build(2, "vmap", "own")
    state = jax.jit(algorithm.init)(KEY, next(pipeline.batches(0)))
    one, two = list(members.held_out().batches(0))[:2]
    evaluate = jax.jit(algorithm.evaluate)
    shared, other = evaluate(state, one, KEY), evaluate(state, two, KEY)
    own = evaluate(state, stacked([one, two]), KEY)
    for name in shared:
        np.testing.assert_allclose(own[name].total[0], shared[name].total[0], rtol=1e-5)
        np.testing.assert_allclose(own[name].total[1], other[name].total[1], rtol=1e-5)


def test_arrays_named_constant_are_shared_where_the_rest_is_own():
    inner = members.alone()
    config = ensemble.Config(2, "vmap", "own", constant=("label",))
    algorithm = ensemble.build(config, inner)
    one, two = (next(members.training().batches(n)) for n in (0, 1))
    batch = {"input": np.stack([one["input"], two["input"]]), "label": one["label"]}
    state = jax.jit(algorithm.init)(KEY, batch)
    after, _ = jax.jit(algorithm.update)(state, batch)
    mixed = {"input": two["input"], "label": one["label"]}
    alone, _ = jax.jit(inner.update)(algorithm.member(state, 1), mixed)
    assert_close(arrays(algorithm.member(after, 1)), arrays(alone))


def test_weights_and_explanations_are_by_member():
    algorithm, pipeline = members.build(SIZE)
    state = jax.jit(algorithm.init)(KEY, next(pipeline.batches(0)))
    batch = next(members.held_out().batches(0))
    weights = algorithm.weights(state)
    assert weights.opt_state == () and weights.step.shape == (SIZE,)
    predict = jax.jit(algorithm.predict)
    equal(predict(weights, batch, KEY), predict(state, batch, KEY))
    slopes = jax.jit(algorithm.explain)(state, batch, KEY)["slope"]
    assert slopes.shape == (SIZE, *batch["input"].shape)
    explain = jax.jit(algorithm.algorithm.explain)
    for i in range(SIZE):
        alone = explain(algorithm.member(state, i), batch, KEY)["slope"]
        assert_close(slopes[i], alone)
    assert not hasattr(ensemble.build(ensemble.Config(2), acting.build()[0]), "explain")


def test_members_stop_at_evaluations_of_their_own_and_keep_their_own_best():
    """What `fit` does by member: the rule, the frozen members, the kept weights."""
    algorithm, pipeline = members.build(4)
    init, rule = build_rule(Select("val/loss", "min"), Stopping("patience", patience=3))
    held_out, every = next(members.held_out().batches(0)), 10

    @jax.jit
    def between_evaluations(state, best, carry, batches):
        after, _ = jax.lax.scan(algorithm.update, state, batches)
        state = choose(~carry["stopped"], after, state)
        loss = algorithm.evaluate(state, held_out, KEY)["loss"]
        carry, better, stop = rule(carry, {"val/loss": loss.total / loss.count})
        return state, choose(better, algorithm.weights(state), best), carry, stop, loss

    state = jax.jit(algorithm.init)(jax.random.key(1), next(pipeline.batches(0)))
    best, carry, stops, losses = algorithm.weights(state), init(4), np.full(4, -1), []
    for number in range(100):
        batches = update_batches(algorithm, pipeline, every, number * every)
        state, best, carry, stop, loss = between_evaluations(state, best, carry, batches)
        losses.append(loss.compute())
        stops = np.where(stop & (stops < 0), number, stops)
        if stop.all():
            break
    assert (stops >= 3).all() and len(set(stops.tolist())) >= 2, stops
    kept = jax.jit(algorithm.evaluate)(best, held_out, KEY)["loss"].compute()
    for i, end in enumerate(stops):
        curve = np.array(losses)[: end + 1, i]
        np.testing.assert_allclose(kept[i], curve.min(), rtol=1e-5)
        assert np.argmin(curve) == end - 3
        assert state.step[i] == every * (end + 1), "a stopped member is frozen"


def choose(active, new, old):
    def one(new, old):
        return jnp.where(active.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(one, new, old)


WRONG = [
    ({"members": 0}, r"train.ensemble is 0"),
    ({"by": "pmap"}, r"train.ensemble_by is 'pmap'.*vmap"),
    ({"data": "mine"}, r"train.ensemble_data is 'mine'.*own"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_a_wrong_setting_is_an_error(fields, message):
    with pytest.raises(ConfigError, match=message):
        ensemble.build(ensemble.Config(**fields), members.alone())


def test_an_ensemble_of_ensembles_and_a_member_that_is_not_there_are_errors():
    algorithm, pipeline = members.build(2)
    with pytest.raises(ConfigError, match="2 members"):
        ensemble.build(ensemble.Config(2), algorithm)
    state = algorithm.init(jax.random.key(0), next(pipeline.batches(0)))
    with pytest.raises(ValueError, match="from 0 to 1, not 2"):
        algorithm.member(state, 2)


def test_of_what_is_explained_one_array_can_be_asked_for() -> None:
    """Of a hundred members of GAT, the attention alone is 20 GB; a scatter does not need it."""

    class Saying(members.Classification):
        def explain(self, params, mutable, batch, key):
            found = super().explain(params, mutable, batch, key)
            return found | {"wide": jnp.einsum("bi,cj->bcij", batch["input"], batch["input"])}

    algorithm, pipeline = members.build(3, "loop")
    algorithm = replace(algorithm, algorithm=replace(algorithm.algorithm, task=Saying()))
    compiled = Compiled(algorithm, pipeline, mesh.make(Mesh()), Train())
    state = compiled.init(0)
    batch = compiled.put(next(members.held_out().batches(0)))
    whole = compiled.explain(state, batch, KEY)
    assert set(whole) == {"slope", "wide"}
    one = compiled.explain(state, batch, KEY, "slope")
    assert set(one) == {"slope"}
    np.testing.assert_array_equal(one["slope"], whole["slope"])
    function = compiled._functions["explain"]
    programs = [
        function.lower(state, batch, compiled.constant, KEY, (("only", only),)).compile()
        for only in ("", "slope")
    ]
    sizes = [p.memory_analysis() for p in programs]
    wide = np.asarray(whole["wide"]).nbytes
    assert sizes[0].output_size_in_bytes >= wide > 4 * sizes[1].output_size_in_bytes
    assert sizes[1].temp_size_in_bytes < wide / 2
