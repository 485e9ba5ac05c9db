"""Plans: each text once an epoch, nothing beyond its row, as many batches in every epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.text import plans

BOUNDS = (4, 8, 16)
LENGTHS = st.lists(st.integers(1, 16), min_size=1, max_size=80).map(np.array)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_a_batch_holds_texts_of_its_bucket_and_an_epoch_each_once(
    lengths, size, seed, epoch, shuffled
):
    plan = plans.buckets(lengths, BOUNDS, size, seed, epoch, shuffled)
    used = plan.rows[plan.rows >= 0]
    assert sorted(used) == list(range(len(lengths)))
    for rows, bucket in zip(plan.rows, plan.bucket, strict=True):
        assert rows[0] >= 0
        assert (lengths[rows[rows >= 0]] <= BOUNDS[bucket]).all()
    # Padding, if any, is in one batch.
    assert ((plan.rows < 0).any(axis=1)).sum() <= 1
    other = plans.buckets(lengths, BOUNDS, size, seed, epoch + 1, shuffled)
    assert np.array_equal(np.sort(other.bucket), np.sort(plan.bucket))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_a_mixed_batch_has_rows_of_its_longest_text(lengths, size, seed, epoch):
    plan = plans.mixed(lengths, BOUNDS, size, seed, epoch)
    used = plan.rows[plan.rows >= 0]
    assert sorted(used) == list(range(len(lengths))) and len(plan) == -(-len(lengths) // size)
    for rows, bucket in zip(plan.rows, plan.bucket, strict=True):
        longest = lengths[rows[rows >= 0]].max()
        assert longest <= BOUNDS[bucket] and (bucket == 0 or longest > BOUNDS[bucket - 1])
    # The texts of a batch do not depend on how long they are.
    other = plans.mixed(np.roll(lengths, 1), BOUNDS, size, seed, epoch)
    assert np.array_equal(plan.rows, other.rows)


@settings(deadline=None)
@given(LENGTHS, st.integers(0, 5), st.integers(0, 3))
def test_packs_hold_each_text_once_and_have_room(lengths, seed, epoch):
    packer = plans.Packer(lengths, 16)
    packs = packer.packs(seed, epoch)
    assert sorted(packs.texts) == list(range(len(lengths)))
    assert len(packs) == packer.num_rows
    filled = [lengths[packs.row(i)].sum() for i in range(len(packs))]
    assert min(filled) > 0 and max(filled) <= 16
    # No two rows would fit into one: so none is left half empty but one.
    assert sum(f <= 8 for f in filled) <= 1
    assert len(packer.packs(seed, epoch + 1)) == len(packs)


def test_another_epoch_or_seed_is_another_order():
    lengths = np.random.default_rng(0).integers(1, 17, 200)
    for one, two in (((0, 0), (0, 1)), ((0, 0), (1, 0))):
        first, second = (plans.buckets(lengths, BOUNDS, 8, *key, True) for key in (one, two))
        assert not np.array_equal(first.rows, second.rows)
        packs = [plans.Packer(lengths, 16).packs(*key) for key in (one, two)]
        assert not np.array_equal(packs[0].texts, packs[1].texts)
        mixed = [plans.mixed(lengths, BOUNDS, 8, *key) for key in (one, two)]
        assert not np.array_equal(mixed[0].rows, mixed[1].rows)


def test_in_order_where_nothing_is_shuffled():
    lengths = np.array([3, 9, 2, 16, 4])
    plan = plans.buckets(lengths, BOUNDS, 2, 0, 0, False)
    assert plan.rows.tolist() == [[0, 2], [4, 1], [3, -1]]
    assert plan.bucket.tolist() == [0, 2, 2]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100))
def test_packing_wastes_little(seed):
    lengths = np.random.default_rng(seed).integers(1, 100, 2000)
    packer = plans.Packer(lengths, 128)
    assert lengths.sum() / (packer.num_rows * 128) > 0.98


def test_a_text_beyond_every_bound_is_a_bug():
    with pytest.raises(AssertionError):
        plans.buckets(np.array([17]), BOUNDS, 2, 0, 0, False)
