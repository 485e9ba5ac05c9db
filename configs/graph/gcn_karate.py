"""GCN on Zachary's karate club: who stayed with whom, from one label of each side.

    python train.py --config=configs/graph/gcn_karate.py

Expected: a number of our own over 10 seeds; none is published. 34 members, no features but the
members themselves; the picture is that of Kipf and Welling 2016, arXiv:1609.02907, appendix A.
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
            "train": {"steps": 200, "log_every": 20, "ensemble": 10, "ensemble_by": "vmap"},
            "baseline": {
                "kind": "own",
                "metric": "test/accuracy",
                "protocol": "the two leaders' labels, 200 updates, last weights, 10 seeds",
            },
        }
    )
