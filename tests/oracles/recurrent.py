"""Recurrent cells and the attention of their decoders in float64, one row and step at a time."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_cell(x, state, w, b, u):
    """Gers et al. 2000: (h', c') of one input [d]; gates i f g o lie side by side in w, b and u."""
    h, c = state
    i, f, g, o = np.split(x @ w + b + h @ u, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(x, state, w, b, u, d):
    """arXiv:1406.1078 as cuDNN has it: (h',) of one input; gates r z n, d is the bias [h] of n."""
    (h,) = state
    width = len(h)
    wx, uh = x @ w + b, h @ u
    r, z = sigmoid(wx[:width] + uh[:width]), sigmoid(wx[width:-width] + uh[width:-width])
    n = np.tanh(wx[-width:] + r * (uh[-width:] + d))
    return ((1 - z) * n + z * h,)


def layer(cell, params, x, lengths, reverse=False, starts=None):
    """(outputs [b, l, h], last states): each row by itself, its own tokens only."""
    params = {k: {n: np.asarray(a, np.float64) for n, a in p.items()} for k, p in params.items()}
    w, b, u = params["input"]["kernel"], params["input"]["bias"], params["hidden"]["kernel"]
    width = u.shape[0]
    out, last = np.zeros((*x.shape[:2], width)), []
    for row, length in enumerate(lengths):
        if starts is None:
            state = (np.zeros(width),) * (2 if cell == "lstm" else 1)
        else:
            state = tuple(np.asarray(s[row], np.float64) for s in starts)
        steps = range(length)[::-1] if reverse else range(length)
        for t in steps:
            token = np.asarray(x[row, t], np.float64)
            if cell == "lstm":
                state = lstm_cell(token, state, w, b, u)
            else:
                state = gru_cell(token, state, w, b, u, params["hidden"]["bias"])
            out[row, t] = state[0]
        last.append(state)
    return out, tuple(np.stack(s) for s in zip(*last, strict=True))


def bahdanau(state, keys, query, score):
    """arXiv:1409.0473, appendix A.1.2: softmax over m of v . tanh(W s + U m); keys are U m."""
    energies = np.array([score @ np.tanh(state @ query + key) for key in keys])
    weights = np.exp(energies - energies.max())
    return weights / weights.sum()


def luong(state, keys):
    """arXiv:1508.04025, equations 7 and 8, "general": softmax over m of s . (U m)."""
    energies = np.array([state @ key for key in keys])
    weights = np.exp(energies - energies.max())
    return weights / weights.sum()
