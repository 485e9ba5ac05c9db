"""MPNN on ESOL: how soluble a molecule is in water (MoleculeNet, Wu et al. 2017, arXiv:1703.00564).

    python train.py --config=configs/graph/mpnn_esol.py
    python train.py --config=configs/graph/mpnn_esol.py:scaffold

Expected: RMSE 0.58 +- 0.03 log(mol/L) on random splits, the mean of 3, which are members here. The
scaffold split is much harder, and no number of the paper is for it. The weights that were best on
the validation tenth are tested.
"""

from ml_collections import ConfigDict

from configs.common import molecules


def get_config(arg: str = "random") -> ConfigDict:
    """The values; `arg` is the split, random or scaffold."""
    if arg not in ("random", "scaffold"):
        raise ValueError(f"{arg!r}: random or scaffold")
    published = {
        "kind": "published",
        "value": 0.58,
        "tolerance": 0.08,
        "spread": {"kind": "splits", "value": 0.03, "n": 3},
        "source": "arXiv:1703.00564, table of ESOL, MPNN",
        "protocol": "random 80/10/10, 3 splits, best validation weights",
        "verified": True,
        "short": "The mean of three splits is within the tolerance, their interval is not. Tried: "
        "twice the width without dropout, and bonds in place of all pairs of atoms.",
        "beside": ("scaffold",),
    }
    own = {"kind": "own", "protocol": "scaffold 80/10/10, 3 seeds, best validation weights"}
    train = molecules.select(1200)
    data = molecules.esol(arg)
    # All pairs of atoms, as MoleculeNet's own network has them: bonds alone generalise less well.
    data["source"]["edges"] = "pairs"
    if arg == "scaffold":
        # There is one such split: members are seeds.
        train["ensemble_data"] = "shared"
    return ConfigDict(
        {
            "model": {
                "name": "graph.mpnn",
                "hidden": 32,
                "steps": 3,
                "readings": 3,
                "dropout_rate": 0.2,
            },
            "data": data,
            "task": {"name": "graph_prediction"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adam",
                "learning_rate": 1e-3,
                "schedule": "cosine",
                "warmup_steps": 100,
                "clip_norm": 5.0,
            },
            "evaluators": molecules.evaluators(100),
            "train": train,
            "baseline": {
                "metric": "test/rmse",
                "direction": "min",
                **(published if arg == "random" else own),
            },
        }
    )
