"""Norms, positions, convolutions and pools in float64, written as their definitions read."""

import numpy as np


def layer_norm(x, scale, bias, epsilon=1e-6):
    """arXiv:1607.06450, equation 3, over the last axis."""
    x = np.asarray(x, np.float64)
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return scale * (x - mean) / np.sqrt(variance + epsilon) + bias


def batch_norm(x, scale, bias, epsilon=1e-5):
    """arXiv:1502.03167, algorithm 1: (output, mean, variance) over all but the last axis."""
    x = np.asarray(x, np.float64)
    mean = x.mean((0, 1, 2))
    variance = ((x - mean) ** 2).mean((0, 1, 2))
    return scale * (x - mean) / np.sqrt(variance + epsilon) + bias, mean, variance


def sinusoidal(length, width):
    """arXiv:1706.03762, section 3.5, entry by entry."""
    table = np.zeros((length, width))
    for position in range(length):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            table[position, 2 * i], table[position, 2 * i + 1] = np.sin(angle), np.cos(angle)
    return table


def sincos_2d(rows, columns, width):
    """Token (y, x): sines and cosines of x w_i, then of y w_i, where w_i = 10000^(-i / (n - 1))."""
    n = width // 4
    table = []
    for y in range(rows):
        for x in range(columns):
            w = [10000 ** (-i / (n - 1)) for i in range(n)]
            table.append(
                [np.sin(x * f) for f in w] + [np.cos(x * f) for f in w]
                + [np.sin(y * f) for f in w] + [np.cos(y * f) for f in w]
            )  # fmt: skip
    return np.array(table)


def convolution(x, kernel, stride=1, padding=1):
    """Cross-correlation of x [b, height, width, c] with kernel [rows, columns, c, o]."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = kernel.shape[0]
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    out = np.zeros((len(x), height, width, kernel.shape[-1]))
    for y in range(height):
        for z in range(width):
            window = x[:, y * stride : y * stride + size, z * stride : z * stride + size]
            out[:, y, z] = np.tensordot(window, kernel, axes=3)
    return out


def average_pool(x):
    """Means of 2x2 pixels; an odd last row or column is dropped."""
    x = np.asarray(x, np.float64)
    height, width = x.shape[1] // 2, x.shape[2] // 2
    out = np.zeros((len(x), height, width, x.shape[-1]))
    for y, z in np.ndindex(height, width):
        out[:, y, z] = x[:, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].mean((1, 2))
    return out


def gelu(x):
    """x times the standard normal's distribution function (arXiv:1606.08415)."""
    from math import erf

    return np.vectorize(lambda v: v * 0.5 * (1 + erf(v / np.sqrt(2))))(np.asarray(x, np.float64))
