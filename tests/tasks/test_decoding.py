"""Decoding against its definitions: every sequence enumerated, every kept token counted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import language_modelling
from tasks.common import beams, sampling
from tests.models import run
from tests.oracles import decoding as oracle
from tests.toys.talking import Talker
from training.contracts import ConfigError, Info

KEY = jax.random.key(0)


def info_of(vocabulary: int, eos: int) -> Info:
    return Info({}, vocab_size=vocabulary, special={"eos": eos, "pad": vocabulary - 1})


class Talking:
    """A random talker, its task, and its logits after a list of tokens."""

    def __init__(self, vocabulary: int, eos: int, seed: int):
        info = info_of(vocabulary, eos)
        self.model = Talker(vocab_size=vocabulary)
        config = language_modelling.Config()
        self.task = language_modelling.build(config, self.model, info)
        prompt = jnp.zeros((1, 3), jnp.int32)
        self.params, _ = self.task.init(jax.random.key(seed), {"tokens": prompt})
        self.apply = run.jit(lambda t: self.model.apply({"params": self.params}, t, train=False))
        self._known: dict[tuple[int, ...], np.ndarray] = {}

    def logits_of(self, tokens: list[int]) -> np.ndarray:
        if tuple(tokens) not in self._known:
            # Causal: what stands behind does not matter, and one shape compiles once.
            row = np.zeros((1, 12), "i4")
            row[0, : len(tokens)] = tokens
            self._known[tuple(tokens)] = np.asarray(self.apply(row))[0, len(tokens) - 1]
        return self._known[tuple(tokens)]

    def generate(self, prompts: np.ndarray, key=KEY, **options):
        made = run.jit(
            lambda params, prompts, key: self.task.generate(
                params, {}, {"tokens": prompts}, key, **options
            )
        )(self.params, prompts, key)
        return {name: np.asarray(array) for name, array in made.items()}


def until(tokens: np.ndarray, eos: int) -> list[int]:
    """A row up to and with eos."""
    listed = tokens.tolist()
    return listed[: listed.index(eos) + 1] if eos in listed else listed


PROMPTS = np.array([[0, 1, 2], [2, 2, 1], [1, 0, 0], [0, 0, 0]], "i4")


@pytest.mark.parametrize("by", ["sample", "beam_search"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_greedy_is_the_likeliest_token_after_another(seed: int, by: str) -> None:
    """A beam search of one beam is greedy too, whatever the penalty."""
    talking = Talking(7, eos=5, seed=seed)
    if by == "sample":
        found = talking.generate(PROMPTS, length=8)
    else:
        front = talking.task.begin(talking.params, {}, {"tokens": PROMPTS})
        axes = beams.batch_axes(
            lambda batch: talking.task.begin(talking.params, {}, batch).cache, {"tokens": PROMPTS}
        )
        assert axes == {"memory": 0, "counted": -1}
        step = talking.task.step_fn(talking.params, {})
        tokens, _ = run.jit(
            lambda front: beams.beam_search(step, front, axes, 8, 1, alpha=0.9, eos=5, pad=6)
        )(front)
        found = {"tokens": np.asarray(tokens)}
    for row, prompt in enumerate(PROMPTS.tolist()):
        expected = oracle.greedy(talking.logits_of, prompt, 8, eos=5)
        assert until(found["tokens"][row], 5) == expected
        assert (found["tokens"][row, len(expected) :] == 6).all()


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_a_wide_beam_finds_the_best_of_all_sequences(seed: int, alpha: float) -> None:
    talking = Talking(3, eos=1, seed=seed)
    found = talking.generate(PROMPTS, length=4, beams=27, length_penalty=alpha)
    for row, prompt in enumerate(PROMPTS.tolist()):
        score, tokens = oracle.best_of_all(talking.logits_of, prompt, 3, 4, alpha, eos=1)
        assert until(found["tokens"][row], 1) == tokens
        np.testing.assert_allclose(found["scores"][row], score, rtol=1e-4)


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, [1]), (2.0, [0] * 10)])
def test_a_penalty_lets_a_long_text_win_over_one_that_ended(
    alpha: float, expected: list[int]
) -> None:
    """Ends at once with probability .6, or never: -.51 against -.92, or by length -.15."""
    first, later = jnp.log(jnp.array([[0.4, 0.6, 1e-9]])), jnp.array([[9.0, -9.0, 0.0]])

    def step(cache, token, position):
        return jnp.repeat(later, 2, axis=0), cache

    front = sampling.Front.of(first, {}, 0)
    tokens, scores = beams.beam_search(step, front, {}, 10, 2, alpha=alpha, eos=1, pad=7)
    assert until(np.asarray(tokens[0]), 1) == expected
    total = np.log(0.4 if alpha else 0.6) / ((5 + len(expected)) / 6) ** alpha
    np.testing.assert_allclose(scores, total, rtol=1e-2)


def test_beams_find_what_greedy_misses_and_never_worse_on_average() -> None:
    talking = Talking(7, eos=5, seed=3)
    prompts = np.random.default_rng(0).integers(0, 7, (16, 3)).astype("i4")
    greedy, wide = (talking.generate(prompts, length=6, beams=k)["scores"] for k in (1, 4))
    assert (wide > greedy + 1e-3).any() and wide.mean() > greedy.mean()


def test_scores_are_the_log_probabilities_of_the_tokens() -> None:
    talking = Talking(7, eos=5, seed=0)
    for options in ({}, {"temperature": 1.5}, {"beams": 3}):
        found = talking.generate(PROMPTS, length=6, length_penalty=0.7, **options)
        for row, prompt in enumerate(PROMPTS.tolist()):
            tokens, total = until(found["tokens"][row], 5), 0.0
            for i, token in enumerate(tokens):
                total += oracle.log_softmax(talking.logits_of(prompt + tokens[:i]))[token]
            expected = total / ((5 + len(tokens)) / 6) ** 0.7
            np.testing.assert_allclose(found["scores"][row], expected, rtol=1e-4)


def test_a_cached_step_is_the_whole_forward_pass() -> None:
    talking = Talking(7, eos=5, seed=0)
    tokens = np.random.default_rng(0).integers(0, 7, (2, 9)).astype("i4")
    whole = talking.model.apply({"params": talking.params}, tokens, train=False)
    front = talking.task.begin(talking.params, {}, {"tokens": tokens[:, :4]})
    step, cache = talking.task.step_fn(talking.params, {}), front.cache
    np.testing.assert_allclose(front.logits, whole[:, 3], rtol=1e-5, atol=1e-5)
    for position in range(4, 9):
        logits, cache = step(cache, jnp.asarray(tokens[:, position]), jnp.int32(position))
        np.testing.assert_allclose(logits, whole[:, position], rtol=1e-5, atol=1e-5)


rows = st.lists(st.integers(-4, 4), min_size=6, max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 6))
def test_top_k_keeps_the_k_likeliest_and_of_equals_the_first(row: list[int], k: int) -> None:
    kept = np.asarray(sampling.keep_top_k(jnp.asarray([row], jnp.float32), k))[0]
    expected = sorted(range(6), key=lambda i: (-row[i], i))[:k]
    assert set(np.flatnonzero(np.isfinite(kept))) == set(expected)
    assert all(kept[i] == row[i] for i in expected)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from([0.013, 0.21, 0.499, 0.777, 0.95, 0.993]))
def test_top_p_keeps_the_fewest_tokens_that_reach_p(row: list[int], p: float) -> None:
    kept = np.asarray(sampling.keep_top_p(jnp.asarray([row], jnp.float32), p))[0]
    probabilities = np.exp(oracle.log_softmax(np.array(row)))
    expected, total = [], 0.0
    for i in sorted(range(6), key=lambda i: (-row[i], i)):
        if total >= p - 1e-6:
            break
        expected.append(i)
        total += probabilities[i]
    assert set(np.flatnonzero(np.isfinite(kept))) == set(expected)


@pytest.mark.parametrize(
    ("method", "allowed"),
    [({"top_k": 2}, {0, 1}), ({"top_p": 0.6}, {0, 1}), ({"top_k": 3, "top_p": 0.4}, {0})],
)
def test_samples_come_from_what_is_kept_in_proportion(method: dict, allowed: set[int]) -> None:
    probabilities = np.array([0.5, 0.25, 0.15, 0.1])
    logits = jnp.broadcast_to(jnp.log(probabilities), (4000, 4))
    drawn = sampling.choose(logits, KEY, sampling.Method(temperature=1.0, **method))
    assert set(np.unique(drawn)) == allowed
    share = probabilities[list(allowed)] / probabilities[list(allowed)].sum()
    np.testing.assert_allclose(np.bincount(drawn) / 4000, share, atol=0.03)


def test_a_temperature_sharpens_and_flattens() -> None:
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.6, 0.3, 0.1])), (4000, 3))
    for temperature in (0.5, 2.0):
        drawn = sampling.choose(logits, KEY, sampling.Method(temperature=temperature))
        expected = np.array([0.6, 0.3, 0.1]) ** (1 / temperature)
        np.testing.assert_allclose(np.bincount(drawn) / 4000, expected / expected.sum(), atol=0.03)


def test_a_key_gives_one_sample_and_pieces_of_it_are_the_whole() -> None:
    talking = Talking(7, eos=sampling.NEVER, seed=0)
    method = {"temperature": 1.3, "top_k": 5, "top_p": 0.95}
    whole = talking.generate(PROMPTS, length=6, **method)["tokens"]
    again = talking.generate(PROMPTS, length=6, **method)["tokens"]
    other = talking.generate(PROMPTS, key=jax.random.key(1), length=6, **method)["tokens"]
    np.testing.assert_array_equal(whole, again)
    assert (whole != other).any()
    front = talking.task.begin(talking.params, {}, {"tokens": PROMPTS})
    step, pieces = talking.task.step_fn(talking.params, {}), []
    for length in (1, 3, 2):
        tokens, _, front = sampling.sample(step, front, KEY, length, sampling.Method(**method))
        pieces.append(np.asarray(tokens))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def counted(talking: Talking, decode: Callable[..., object]) -> int:
    """How many steps decoding made."""
    steps = []
    inner = talking.task.step_fn(talking.params, {})

    def step(cache, token, position):
        jax.debug.callback(lambda p: steps.append(int(p)), position)
        return inner(cache, token, position)

    jax.block_until_ready(decode(step))
    jax.effects_barrier()
    return len(steps)


def test_it_stops_when_all_rows_have_ended() -> None:
    talking = Talking(7, eos=5, seed=0)
    front = talking.task.begin(talking.params, {}, {"tokens": PROMPTS})
    # Whatever was said before, 5 follows.
    front = front.replace(logits=jnp.full((4, 7), -9.0).at[:, 5].set(9.0))
    method, axes = sampling.Method(), {"memory": 0, "counted": -1}
    assert counted(talking, lambda s: sampling.sample(s, front, KEY, 50, method, eos=5)) == 1
    assert counted(talking, lambda s: beams.beam_search(s, front, axes, 50, 3, eos=5)) <= 2


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"beams": 0},
        {"length_penalty": -0.1}, {"beams": 2, "temperature": 1.0}, {"top_k": 3}, {"top_p": 0.5},
    ],
)  # fmt: skip
def test_a_method_that_is_none_is_refused(fields: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        sampling.Method(**fields)


def test_more_tokens_than_the_model_remembers_are_refused() -> None:
    talking = Talking(7, eos=5, seed=0)
    model = Talker(vocab_size=7, max_length=10)
    task = language_modelling.build(language_modelling.Config(), model, info_of(7, eos=5))
    with pytest.raises(ConfigError, match="3 tokens of a prompt and 8 more are beyond the 10"):
        task.generate(talking.params, {}, {"tokens": PROMPTS}, KEY, length=8)
    for options in ({}, {"beams": 3}):
        found = task.generate(talking.params, {}, {"tokens": PROMPTS}, KEY, length=7, **options)
        assert np.isfinite(found["scores"]).all()
        free = talking.generate(PROMPTS, length=7, **options)
        np.testing.assert_allclose(found["scores"], free["scores"], rtol=1e-5)
