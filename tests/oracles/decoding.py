"""Decoding in NumPy: every sequence there is, and its score."""

import itertools
from collections.abc import Callable

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """In float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def greedy(
    logits_of: Callable[[list[int]], np.ndarray], prompt: list[int], length: int, eos: int
) -> list[int]:
    """The likeliest token after another, up to and with eos."""
    found: list[int] = []
    while len(found) < length and eos not in found:
        found.append(int(np.argmax(logits_of(prompt + found))))
    return found


def best_of_all(
    logits_of: Callable[[list[int]], np.ndarray],
    prompt: list[int],
    vocabulary: int,
    length: int,
    alpha: float,
    eos: int,
) -> tuple[float, list[int]]:
    """(score, tokens) of the best of all sequences that end with eos, or have `length` tokens."""
    found = []
    for size in range(1, length + 1):
        for tokens in itertools.product(range(vocabulary), repeat=size):
            ends = tokens[-1] == eos
            if eos in tokens[:-1] or not (ends or size == length):
                continue
            total = 0.0
            for i, token in enumerate(tokens):
                total += log_softmax(logits_of(prompt + list(tokens[:i])))[token]
            found.append((total / ((5 + size) / 6) ** alpha, list(tokens)))
    return max(found)
