"""Attention in float64, one query at a time (arXiv:1706.03762, equation 1 and section 3.2.2)."""

import numpy as np


def attention(query, key, value, mask=None, bias=None):
    """(output [b, l, h, k], weights [b, h, l, m]); mask and bias are [b, h, l, m]."""
    query, key, value = (np.asarray(a, np.float64) for a in (query, key, value))
    batch, length, heads, width = query.shape
    keys = key.shape[1]
    out, weights = np.zeros((batch, length, heads, width)), np.zeros((batch, heads, length, keys))
    for b, h, i in np.ndindex(batch, heads, length):
        seen = [j for j in range(keys) if mask is None or mask[b, h, i, j]]
        scores = [query[b, i, h] @ key[b, j, h] / np.sqrt(width) for j in seen]
        if bias is not None:
            scores = [s + bias[b, h, i, j] for s, j in zip(scores, seen, strict=True)]
        exponentials = [np.exp(s - max(scores)) for s in scores]
        for e, j in zip(exponentials, seen, strict=True):
            weights[b, h, i, j] = e / sum(exponentials)
            out[b, i, h] += weights[b, h, i, j] * value[b, j, h]
    return out, weights


def multi_head(params, x, context):
    """Section 3.2.2 with params as Linen has them: kernels [d, h, k] and [h, k, d]."""
    params = {n: {k: np.asarray(v, np.float64) for k, v in p.items()} for n, p in params.items()}

    def heads(name, x):
        projected = np.tensordot(np.asarray(x, np.float64), params[name]["kernel"], axes=(2, 0))
        return projected + params[name]["bias"]

    out, _ = attention(heads("query", x), heads("key", context), heads("value", context))
    return np.tensordot(out, params["out"]["kernel"], axes=((2, 3), (0, 1))) + params["out"]["bias"]
