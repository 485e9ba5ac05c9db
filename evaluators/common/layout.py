"""Places of nodes in a plane, for pictures of small graphs. Letters: `n` nodes, `e` edges."""

import numpy as np

_ROUNDS = 200


def spring(num_nodes: int, edges: np.ndarray, seed: int = 0) -> np.ndarray:
    """Positions [n, 2], about in [-1, 1]: Fruchterman and Reingold 1991, with falling steps.

    Nodes push each other away by k^2 / distance, edges [e, 2] pull by distance^2 / k.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(-1.0, 1.0, (num_nodes, 2))
    if num_nodes < 2:
        return np.zeros((num_nodes, 2))
    adjacency = np.zeros((num_nodes, num_nodes))
    adjacency[edges[:, 0], edges[:, 1]] = adjacency[edges[:, 1], edges[:, 0]] = 1.0
    ideal = (4.0 / num_nodes) ** 0.5
    for step in np.linspace(0.2, 0.002, _ROUNDS):
        apart = places[:, None] - places[None]
        distance = np.maximum(np.linalg.norm(apart, axis=-1), 1e-3)
        force = ideal**2 / distance**2 - adjacency * distance / ideal
        move = (apart * force[..., None]).sum(axis=1)
        length = np.maximum(np.linalg.norm(move, axis=-1, keepdims=True), 1e-9)
        places += move / length * np.minimum(length, step)
        places -= places.mean(axis=0)
    return places / np.abs(places).max()


def neighbourhood(centre: int, edges: np.ndarray, most: int) -> np.ndarray:
    """Nodes [n] nearest to `centre`, itself first, breadth first, `most` of them at most."""
    found, place = [centre], 0
    while place < len(found) and len(found) < most:
        node = found[place]
        joined = np.concatenate([edges[edges[:, 0] == node, 1], edges[edges[:, 1] == node, 0]])
        found += [n for n in dict.fromkeys(joined.tolist()) if n not in found]
        place += 1
    return np.array(found[:most], np.int64)
