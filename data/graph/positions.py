"""Where a node stands in its graph, as arrays that a preparation adds. Names, as configs have them:

    degree             degree float32 [n, 1], edges that arrive
    laplacian:k        laplacian_positions float32 [n, k]: eigenvectors of the symmetric normalised
                       Laplacian of the k lowest eigenvalues above the first; zeros where a graph
                       has fewer (Dwivedi and Bresson 2021, arXiv:2012.09699, section 2.2). Signs
                       are arbitrary: here each vector's largest entry is positive, and a model that
                       follows the paper flips them at random in training.
    random_walk:k      random_walk_positions float32 [n, k]: of walks of 1 to k steps, the
                       probability to be back (Dwivedi et al. 2022, arXiv:2110.07875, equation 7)

Letters: `n` nodes, `e` edges, `k` positions.
"""

from collections.abc import Callable, Mapping

import numpy as np

from data.names import nearest
from training.contracts import ConfigError

Graph = Mapping[str, np.ndarray]
Step = Callable[[Graph, int], dict[str, np.ndarray]]


# Of which a matrix [n, n] is made: half a GB in float64.
_MOST_NODES = 8192


def parse(texts: tuple[str, ...], where: str) -> list[Step]:
    """The functions (graph, n) -> {name: array} of `texts`; "name" or "name:number".

    Raises ConfigError, naming `where`, for one that is unknown.
    """
    steps = []
    for text in texts:
        name, _, number = text.partition(":")
        if name not in _KNOWN:
            raise ConfigError(f"{where} holds {text!r}: {nearest(name, _KNOWN)}")
        function, least = _KNOWN[name]
        if least is None:
            if number:
                raise ConfigError(f"{where} holds {text!r}: {name!r} takes no number")
            steps.append(lambda graph, n, function=function: function(graph, n, 0))
            continue
        if not number.isdigit() or int(number) < least:
            raise ConfigError(f"{where} holds {text!r}: write {name!r} with a number, '{name}:8'")
        steps.append(lambda graph, n, function=function, k=int(number): function(graph, n, k))
    return steps


def adjacency(graph: Graph, num_nodes: int) -> np.ndarray:
    """float64 [n, n], 1 where column sends to row; raises ConfigError for a graph too large."""
    if num_nodes > _MOST_NODES:
        raise ConfigError(
            f"data.positions needs a matrix [n, n], and the graph has {num_nodes} nodes: at most "
            f"{_MOST_NODES} are served; 'degree' takes any number"
        )
    matrix = np.zeros((num_nodes, num_nodes))
    matrix[graph["receivers"], graph["senders"]] = 1.0
    return matrix


def degree(graph: Graph, num_nodes: int, _: int = 0) -> dict[str, np.ndarray]:
    """{"degree": float32 [n, 1]}."""
    counts = np.bincount(graph["receivers"], minlength=num_nodes)
    return {"degree": counts.astype(np.float32)[:, None]}


def laplacian(graph: Graph, num_nodes: int, k: int) -> dict[str, np.ndarray]:
    """{"laplacian_positions": float32 [n, k]}."""
    matrix = adjacency(graph, num_nodes)
    matrix = np.maximum(matrix, matrix.T)
    scale = 1 / np.sqrt(np.maximum(matrix.sum(axis=1), 1.0))
    vectors = np.linalg.eigh(np.eye(num_nodes) - scale[:, None] * matrix * scale)[1][:, 1 : k + 1]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    found = np.zeros((num_nodes, k), np.float32)
    found[:, : vectors.shape[1]] = vectors * np.where(signs == 0, 1, signs)
    return {"laplacian_positions": found}


def random_walk(graph: Graph, num_nodes: int, k: int) -> dict[str, np.ndarray]:
    """{"random_walk_positions": float32 [n, k]}."""
    matrix = adjacency(graph, num_nodes).T
    walk = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1.0)
    power, found = np.eye(num_nodes), np.zeros((num_nodes, k), np.float32)
    for step in range(k):
        power = power @ walk
        found[:, step] = np.diag(power)
    return {"random_walk_positions": found}


_KNOWN: dict[str, tuple[Callable[..., dict[str, np.ndarray]], int | None]] = {
    "degree": (degree, None),
    "laplacian": (laplacian, 1),
    "random_walk": (random_walk, 1),
}
