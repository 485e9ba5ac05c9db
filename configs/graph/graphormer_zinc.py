"""Graphormer-slim on ZINC-12k: constrained solubility of molecules (Ying et al. 2021,
arXiv:2106.05234, table 4).

    python train.py --config=configs/graph/graphormer_zinc.py

Expected: mean absolute error MAE 0.122 +- 0.006 over 4 runs of 400 000 updates.
"""

from ml_collections import ConfigDict

from configs.common import zinc


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    epoch = zinc.EPOCH[256]
    return ConfigDict(
        {
            "model": {
                "name": "graph.graphormer",
                "width": 80,
                "depth": 12,
                "heads": 8,
                "mlp_width": 80,
                "max_nodes": 38,
            },
            "data": zinc.data(256),
            "task": {"name": "graph_prediction", "regression_loss": "absolute"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-4,
                "schedule": "linear",
                "warmup_steps": 40_000,
                "weight_decay": 0.01,
                "decay_paths": ("",),
                "clip_norm": 5.0,
            },
            "evaluators": zinc.evaluators(10 * epoch),
            "train": zinc.train(epoch, 10_000),
            "baseline": zinc.baseline(
                0.122,
                0.006,
                "arXiv:2106.05234, table 4",
                "12 layers, 400 000 updates, best validation weights, mean of 4 seeds",
            ),
        }
    )
