"""Optimizers and schedules in plain float64 NumPy, one array at a time, from the papers' equations.

Every optimizer maps (parameter, gradients [t, ...], learning rates [t]) to the parameter after the
last update. `coupled` and `decoupled` are weight decays.
"""

import math

import numpy as np

Array = np.ndarray


def sgd(
    x: Array, gradients: Array, rates: Array, momentum=0.9, nesterov=False, coupled=0.0
) -> Array:
    """Sutskever et al. 2013 as PyTorch writes it: v = mu v + g, x -= rate (v or g + mu v)."""
    velocity = np.zeros_like(x)
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + coupled * x
        velocity = momentum * velocity + gradient
        x = x - rate * (gradient + momentum * velocity if nesterov else velocity)
    return x


def adam_direction(m: Array, v: Array, t: int, b1: float, b2: float, eps: float) -> Array:
    """Bias-corrected m over the root of bias-corrected v, t counted from 1."""
    return (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)


def adam(
    x: Array, gradients: Array, rates: Array, b1=0.9, b2=0.999, eps=1e-8, coupled=0.0, decoupled=0.0
) -> Array:
    """arXiv:1412.6980 algorithm 1; arXiv:1711.05101 algorithm 2 with its decay times the rate."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        gradient = gradient + coupled * x
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        x = x - rate * (adam_direction(m, v, t, b1, b2, eps) + decoupled * x)
    return x


def lion(x: Array, gradients: Array, rates: Array, b1=0.9, b2=0.99, decoupled=0.0) -> Array:
    """arXiv:2302.06675 algorithm 2."""
    m = np.zeros_like(x)
    for gradient, rate in zip(gradients, rates, strict=True):
        direction = np.sign(b1 * m + (1 - b1) * gradient)
        m = b2 * m + (1 - b2) * gradient
        x = x - rate * (direction + decoupled * x)
    return x


def lamb(
    x: Array, gradients: Array, rates: Array, b1=0.9, b2=0.999, eps=1e-6, decoupled=0.0
) -> Array:
    """arXiv:1904.00962 algorithm 2 with phi the identity; a norm of 0 makes the ratio 1."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        update = adam_direction(m, v, t, b1, b2, eps) + decoupled * x
        norms = np.linalg.norm(x), np.linalg.norm(update)
        x = x - rate * (norms[0] / norms[1] if min(norms) > 0 else 1.0) * update
    return x


def adafactor(
    x: Array, gradients: Array, rates: Array, exponent=0.8, eps=1e-30, momentum=0.0, decoupled=0.0
) -> Array:
    """arXiv:1804.04235 algorithms 4 (matrices of at least 128 x 128) and 5, d = 1, eps2 = 1e-3."""
    factored = x.ndim == 2 and min(x.shape) >= 128
    rows, columns = (np.zeros(x.shape[0]), np.zeros(x.shape[1])) if factored else (None, None)
    v, average = np.zeros_like(x), np.zeros_like(x)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        decay = 1 - t**-exponent
        square = gradient**2 + eps
        if factored:
            rows = decay * rows + (1 - decay) * square.sum(1)
            columns = decay * columns + (1 - decay) * square.sum(0)
            v = np.outer(rows, columns) / rows.sum()
        else:
            v = decay * v + (1 - decay) * square
        update = gradient / np.sqrt(v)
        update = update / max(1.0, root_mean_square(update))
        update = update * max(1e-3, root_mean_square(x))
        average = momentum * average + (1 - momentum) * update
        x = x - rate * (average + decoupled * x)
    return x


def root_mean_square(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2)))


def schedule(
    name: str, step: int, rate: float, warmup=0, end=0, end_factor=0.0, boundaries=(), factor=0.1
) -> float:
    """The learning rate of update number `step`, counted from 0."""
    if step < warmup:
        return rate * step / warmup
    share = min((step - warmup) / (end - warmup), 1.0) if end else 0.0
    if name == "constant":
        return rate
    if name == "linear":
        return rate * (1 - share + share * end_factor)
    if name == "cosine":
        return rate * (end_factor + (1 - end_factor) * (1 + math.cos(math.pi * share)) / 2)
    if name == "step":
        return rate * factor ** sum(step >= boundary for boundary in boundaries)
    if name == "inverse_sqrt":
        return rate * math.sqrt(max(warmup, 1) / max(step, warmup, 1))
    raise ValueError(name)


def clip(gradients: list[Array], norm: float) -> list[Array]:
    """Pascanu et al. 2013, arXiv:1211.5063: g norm / |g| where |g| exceeds norm."""
    length = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    return [gradient * min(1.0, norm / length) for gradient in gradients]
