"""Layers of graph networks in float64, node by node and edge by edge, from the papers' equations.

A graph is (senders, receivers) [e] of n nodes; what arrives at i are the edges with receiver i.
"""

import numpy as np


def f64(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def gcn(x, kernel, senders, receivers):
    """arXiv:1609.02907, equation 2 without activation: D^-1/2 (A + I) D^-1/2 X W."""
    x, kernel = f64(x, kernel)
    a = np.eye(len(x))
    for sender, receiver in zip(senders, receivers, strict=True):
        a[receiver, sender] += 1.0
    d = np.diag(a.sum(axis=1) ** -0.5)
    return d @ a @ d @ x @ kernel


def leaky(x, slope=0.2):
    return np.where(x > 0, x, slope * x)


def gat_weights(score, n, senders, receivers):
    """Row i: softmax over i's neighbours and itself (once) of score(i, j); equation 3."""
    weights = np.zeros((n, n))
    for i in range(n):
        others = [s for s, r in zip(senders, receivers, strict=True) if r == i and s != i]
        exponentials = [(j, np.exp(score(i, j))) for j in [*others, i]]
        for j, value in exponentials:
            weights[i, j] += value / sum(e for _, e in exponentials)
    return weights


def gat(x, kernel, to, source, senders, receivers, slope=0.2):
    """arXiv:1710.10903, equations 1 to 4 without activation: [n, h, k] and weights [h, n, n].

    kernel [f, h, k]; to, source [h, k], the two halves of the vector a of each head.
    """
    x, kernel, to, source = f64(x, kernel, to, source)
    out, weights = [], []
    for h in range(kernel.shape[1]):
        z = x @ kernel[:, h]
        w = gat_weights(
            lambda i, j, h=h, z=z: leaky(to[h] @ z[i] + source[h] @ z[j], slope),
            len(x), senders, receivers,
        )  # fmt: skip
        weights.append(w)
        out.append(w @ z)
    return np.stack(out, axis=1), np.stack(weights)


def gat_v2(x, from_kernel, to_kernel, score, senders, receivers, slope=0.2):
    """arXiv:2105.14491, equation 7: e_ij = a leaky(W_to x_i + W_from x_j); [n, h, k]."""
    x, from_kernel, to_kernel, score = f64(x, from_kernel, to_kernel, score)
    out = []
    for h in range(from_kernel.shape[1]):
        sent, asked = x @ from_kernel[:, h], x @ to_kernel[:, h]
        w = gat_weights(
            lambda i, j, h=h, s=sent, a=asked: score[h] @ leaky(a[i] + s[j], slope),
            len(x), senders, receivers,
        )  # fmt: skip
        out.append(w @ sent)
    return np.stack(out, axis=1)


def gin(x, layers, senders, receivers, epsilon=0.0):
    """arXiv:1810.00826, equation 4.1: MLP((1 + epsilon) x_i + sum_j x_j), batch norm inside.

    `layers` are (kernel, bias, scale, shift); statistics are over all nodes.
    """
    x = np.asarray(x, np.float64)
    total = (1 + epsilon) * x
    for sender, receiver in zip(senders, receivers, strict=True):
        total[receiver] += x[sender]
    for kernel, bias, scale, shift in layers:
        kernel, bias, scale, shift = f64(kernel, bias, scale, shift)
        h = total @ kernel + bias
        normal = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
        total = np.maximum(normal * scale + shift, 0.0)
    return total


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mpnn_step(h, edges, network, bias, gru, senders, receivers):
    """arXiv:1704.01212, section 5: m_i = sum_j A(e_ij) h_j + b, then a GRU (h_i, m_i).

    `network` is (kernel, bias, kernel, bias); `gru` has r, z, n: (W, b, U) and the bias of U n.
    """
    (h, edges, bias), d = f64(h, edges, bias), len(bias)
    k1, b1, k2, b2 = f64(*network)
    message = np.tile(bias, (len(h), 1))
    for number, (sender, receiver) in enumerate(zip(senders, receivers, strict=True)):
        matrix = (np.maximum(edges[number] @ k1 + b1, 0) @ k2 + b2).reshape(d, d)
        message[receiver] += matrix @ h[sender]
    gates = {}
    for name in ("r", "z"):
        w, b, u = f64(*gru[name])
        gates[name] = sigmoid(message @ w + b + h @ u)
    w, b, u = f64(*gru["n"])
    new = np.tanh(message @ w + b + gates["r"] * (h @ u + np.asarray(gru["hn_bias"], np.float64)))
    return (1 - gates["z"]) * new + gates["z"] * h


def set2set_attention(nodes, query):
    """arXiv:1511.06391, equations 4 to 6, of one graph: sum_i softmax_i(x_i q) x_i."""
    nodes, query = f64(nodes, query)
    weights = np.exp(nodes @ query - (nodes @ query).max())
    return weights @ nodes / weights.sum()
