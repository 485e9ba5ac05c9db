"""Recurrent layers against their cells, one row at a time, and what padding and packing promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import cells
from models.layers.recurrent import Direction, Recurrent
from tests.models import run
from tests.oracles import recurrent as oracle

B, L, D, H = 3, 7, 5, 4
LENGTHS = np.array([7, 4, 1])
MASK = jnp.asarray(np.arange(L) < LENGTHS[:, None])


def inputs(seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(B, L, D)), jnp.float32)


def layer(cell: str, **options):
    module = Recurrent(cell, H, **options)
    return module, run.params(module, inputs())


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", cells.CELLS)
def test_layers_are_their_equations_over_each_rows_own_tokens(cell, bidirectional) -> None:
    module, params = layer(cell, depth=2, bidirectional=bidirectional)
    out, last = run.apply(module, {"params": params}, inputs(), MASK, train=False)
    x = np.asarray(inputs(), np.float64)
    sides = ("forward", "backward")[: 1 + bidirectional]
    for index in range(2):
        found = [
            oracle.layer(cell, params[f"layer_{index:02d}_{s}"], x, LENGTHS, s == "backward")
            for s in sides
        ]
        x = np.concatenate([f[0] for f in found], axis=-1)
        for side, (_, states) in enumerate(found):
            for a, b in zip(last[index][side], states, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(out, x, atol=1e-5)


@pytest.mark.parametrize("cell", cells.CELLS)
def test_parameters_are_the_papers(cell: str) -> None:
    """4 (d h + h^2 + h) of an LSTM; of a GRU 3 of them and the candidate's second bias."""
    _, params = layer(cell)
    total = sum(a.size for a in jax.tree.leaves(params))
    gates = {"lstm": 4, "gru": 3}[cell]
    assert total == gates * (D * H + H * H + H) + (H if cell == "gru" else 0)


def test_only_the_forget_gate_starts_open() -> None:
    start = run.init(Recurrent("lstm", H), inputs())["params"]["layer_00_forward"]["input"]["bias"]
    np.testing.assert_array_equal(start, np.repeat([0, 1, 0, 0], H))


@pytest.mark.parametrize("cell", cells.CELLS)
def test_gates_start_independently_and_states_orthogonally(cell: str) -> None:
    kernel = run.init(Recurrent(cell, H), inputs())["params"]["layer_00_forward"]["hidden"][
        "kernel"
    ]
    gates = np.split(np.asarray(kernel), cells.GATES[cell], axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)
    assert not np.allclose(gates[0], gates[1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", cells.CELLS)
def test_the_gradient_is_that_of_a_plain_loop(cell: str, reverse: bool) -> None:
    """Written by hand, with the sum of U's gradient out of the loop: JAX's own says the same."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    g = cells.GATES[cell] * H
    valid, fresh = MASK.T, jnp.asarray(rng.random((L, B)) < 0.3)
    start = tuple(draw(B, H) for _ in range(cells.STATES[cell]))
    given = (draw(L, B, g), draw(H, g), draw(g), start)
    weights = tuple(draw(L, B, H) for _ in start)

    def plain(inputs, kernel, bias, start):
        states, carry = [None] * L, start
        for t in range(L)[:: -1 if reverse else 1]:
            before = tuple(jnp.where(fresh[t][:, None], 0.0, c) for c in carry)
            new = cells.step(cell, inputs[t], kernel, bias, before)
            carry = tuple(
                jnp.where(valid[t][:, None], a, b) for a, b in zip(new, carry, strict=True)
            )
            states[t] = carry
        return tuple(jnp.stack(s) for s in zip(*states, strict=True))

    def loop(*given):
        return cells.recur(cell, reverse, *given, valid, fresh)

    def loss(function):
        return lambda *given: sum(
            (w * s).sum() for w, s in zip(weights, function(*given), strict=True)
        )

    found, expected = (
        run.jit(jax.value_and_grad(loss(f), (0, 1, 2, 3)))(*given) for f in (loop, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected
    )


def test_no_sum_as_large_as_u_is_in_the_loop() -> None:
    """The backward loop carries states; a plain one carries the gradient of U as well."""
    module, params = layer("lstm")
    x = inputs()

    def loss(params):
        return module.apply({"params": params}, x, train=False)[0].sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(params))
    loops = [line for line in text.splitlines() if "= scan[" in line]
    assert len(loops) == 2
    # What a loop returns stands on its line: the sequences, and carries of the states' size.
    assert f"f32[{H},{4 * H}]" not in " ".join(loops)


@pytest.mark.parametrize("cell", cells.CELLS)
def test_padding_is_inert(cell: str) -> None:
    """What stands there changes neither outputs nor states, and gets no gradient."""
    module, params = layer(cell, depth=2, bidirectional=True)

    def total(x):
        out, last = module.apply({"params": params}, x, MASK, train=False)
        return sum((a**2).sum() for a in jax.tree.leaves((out, last)))

    x = inputs()
    gradient = np.asarray(run.jit(jax.grad(total))(x))
    touched = np.any(gradient, axis=-1)
    np.testing.assert_array_equal(touched, MASK)
    out, _ = run.apply(module, {"params": params}, x, MASK, train=False)
    assert not np.any(np.asarray(out)[~np.asarray(MASK)])


def test_without_a_mask_every_token_counts() -> None:
    module, params = layer("gru", bidirectional=True)
    whole, _ = run.apply(module, {"params": params}, inputs(), jnp.ones((B, L), bool), train=False)
    plain, _ = run.apply(module, {"params": params}, inputs(), train=False)
    np.testing.assert_array_equal(whole, plain)


@pytest.mark.parametrize("cell", cells.CELLS)
def test_documents_of_a_packed_row_are_read_one_by_one(cell: str) -> None:
    module, params = layer(cell, depth=2, bidirectional=True)
    x = inputs()[:1]
    segments = jnp.asarray([[1, 1, 1, 2, 3, 3, 0]])
    out, _ = run.apply(module, {"params": params}, x, segments > 0, segments, train=False)
    for start, end in ((0, 3), (3, 4), (4, 6)):
        alone, _ = run.apply(module, {"params": params}, x[:, start:end], train=False)
        np.testing.assert_allclose(out[:, start:end], alone, atol=1e-5)


@pytest.mark.parametrize("cell", cells.CELLS)
def test_a_text_may_be_read_in_parts(cell: str) -> None:
    module, params = layer(cell, depth=2)
    whole, end = run.apply(module, {"params": params}, inputs(), train=False)
    first, last = run.apply(module, {"params": params}, inputs()[:, :3], train=False)
    rest, again = run.apply(
        module, {"params": params}, inputs()[:, 3:], None, None, last, train=False
    )
    np.testing.assert_allclose(jnp.concatenate([first, rest], axis=1), whole, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), again, end)


def test_a_backward_layer_reads_each_row_from_its_own_end() -> None:
    """As a forward one reads the row turned round, padding left where it was."""
    backward = Direction("gru", H, True, jnp.float32, *[jax.nn.initializers.normal()] * 2)
    forward = Direction("gru", H, False, jnp.float32, *[jax.nn.initializers.normal()] * 2)
    x = jnp.swapaxes(inputs(), 0, 1)
    key = jax.random.key(0)
    variables = backward.init(key, x, MASK.T, None, None)
    turned = np.array(x)
    for row, length in enumerate(LENGTHS):
        turned[:length, row] = turned[:length, row][::-1]
    out, last = backward.apply(variables, x, MASK.T, None, None)
    other, other_last = forward.apply(variables, jnp.asarray(turned), MASK.T, None, None)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(out[:length, row][::-1], other[:length, row], atol=1e-6)
    np.testing.assert_allclose(last[0], other_last[0], atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("cell", cells.CELLS)
def test_half_precision_keeps_float32_states(cell: str, dtype) -> None:
    module, params = layer(cell)
    exact, _ = run.apply(module, {"params": params}, inputs(), MASK, train=False)
    half = Recurrent(cell, H, dtype=dtype)
    out, last = run.apply(half, {"params": params}, inputs(), MASK, train=False)
    assert out.dtype == dtype
    assert {a.dtype for a in jax.tree.leaves(last)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(np.asarray(out, "f4"), exact, atol=0.05)


def test_dropout_is_between_layers_in_training_only() -> None:
    one, params = layer("gru", dropout_rate=0.5)
    outs = [run.apply(one, {"params": params}, inputs(), seed=s, train=True)[0] for s in (0, 1)]
    np.testing.assert_array_equal(*outs)
    two, params = layer("gru", depth=2, dropout_rate=0.5)
    still, *dropped = (
        run.apply(two, {"params": params}, inputs(), seed=s, train=t)[0]
        for s, t in ((0, False), (0, True), (1, True))
    )
    assert not np.allclose(still, dropped[0]) and not np.allclose(*dropped)
