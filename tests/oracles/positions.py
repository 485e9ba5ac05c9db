"""Rotary positions, linear biases and T5's buckets, entry by entry in float64."""

import math

import numpy as np


def rotary(x, positions):
    """arXiv:2104.09864, equation 34: x [b, l, h, k], positions [b, l]; i is paired with i + k/2."""
    x = np.asarray(x, np.float64)
    out = np.zeros_like(x)
    half = x.shape[-1] // 2
    for b, j, h in np.ndindex(x.shape[:3]):
        for i in range(half):
            angle = positions[b][j] * 10000 ** (-2 * i / x.shape[-1])
            first, second = x[b, j, h, i], x[b, j, h, i + half]
            out[b, j, h, i] = first * math.cos(angle) - second * math.sin(angle)
            out[b, j, h, i + half] = first * math.sin(angle) + second * math.cos(angle)
    return out


def alibi(length, heads):
    """arXiv:2108.12409, section 3: -m |i - j| with m = 2^(-8 (h + 1) / n): [h, l, l]."""
    bias = np.zeros((heads, length, length))
    for h, i, j in np.ndindex(bias.shape):
        bias[h, i, j] = -(2 ** (-8 * (h + 1) / heads)) * abs(i - j)
    return bias


def bucket(distance, buckets, furthest, causal):
    """arXiv:1910.10683, section 2.1, as its authors' code, of one distance: key less query."""
    after = 0
    if not causal:
        buckets //= 2
        after = buckets if distance > 0 else 0
        away = abs(distance)
    else:
        away = max(-distance, 0)
    exact = buckets // 2
    if away < exact:
        return after + away
    share = math.log(away / exact) / math.log(furthest / exact)
    return after + min(exact + int(share * (buckets - exact) + 1e-12), buckets - 1)
