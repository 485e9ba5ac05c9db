"""GCN on Zachary's karate club: who stayed with whom, from one label of each side.

    python train.py --config=configs/graph/gcn_karate.py

Expected: 87.2 % of the other 32 members (95 % interval 84.1 to 90.3 over 100 seeds, of which 14
stay at chance), a number of our own: none is published. No features but the members themselves; the
picture is that of Kipf and Welling 2016, arXiv:1609.02907, appendix A.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    return ConfigDict(
        {
            "model": {"name": "graph.gcn", "hidden": 4, "depth": 3, "dropout_rate": 0.0},
            "data": {
                "pipeline": "nodes",
                "source": {"name": "karate"},
                "splits": {"train": "train", "test": "test"},
                "pad_to": 8,
            },
            "task": {"name": "node_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            "evaluators": (
                {"name": "standard", "split": "test"},
                {"name": "embedding", "split": "test"},
            ),
            "train": {"steps": 200, "log_every": 20, "ensemble": 100, "ensemble_by": "vmap"},
            "baseline": {
                "kind": "own",
                "metric": "test/accuracy",
                "protocol": "the two leaders' labels, 200 updates, last weights, 100 seeds",
            },
        }
    )
