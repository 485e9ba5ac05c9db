"""Graphormer on ESOL: the network of ZINC (Ying et al. 2021, arXiv:2106.05234), smaller, on data
that a laptop trains on.

    python train.py --config=configs/graph/graphormer_esol.py

Expected: RMSE 0.64 log(mol/L) (95 % interval 0.57 to 0.72 over 3 random splits), a number of our
own: none is published.
"""

from ml_collections import ConfigDict

from configs.common import molecules


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    return ConfigDict(
        {
            "model": {
                "name": "graph.graphormer",
                "width": 48,
                "depth": 4,
                "heads": 4,
                "mlp_width": 48,
                "max_nodes": 56,
                "max_distance": 4,
            },
            "data": molecules.esol("random"),
            "task": {"name": "graph_prediction"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": "cosine",
                "warmup_steps": 100,
                "weight_decay": 0.01,
                "clip_norm": 5.0,
            },
            "evaluators": molecules.evaluators(100),
            "train": molecules.select(1000),
            "baseline": {
                "kind": "own",
                "metric": "test/rmse",
                "direction": "min",
                "protocol": "random 80/10/10, 3 splits, best validation weights",
            },
        }
    )
