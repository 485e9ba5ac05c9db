"""ResNet-20 on CIFAR-10, and 32, 44, 56, 110 by argument.

    python train.py --config=configs/vision/resnet20_cifar10.py:20

He et al. 2015, arXiv:1512.03385, Table 6: test error 8.75 % (20), 7.51 (32), 7.17 (44), 6.97 (56),
6.43 (110, the best of five runs). Momentum SGD, rate 0.1 divided by 10 at 32k and 48k of 64k
updates, batch 128, weight decay 1e-4, padding 4 with a random crop and flips, on 45k images with 5k
held out for validation. As in the paper, 110 layers warm up at a rate of 0.01 for 400 updates; here
it rises.
Needs a GPU or TPU: about an hour on one of either.
"""

from ml_collections import ConfigDict

ERRORS = {20: 0.0875, 32: 0.0751, 44: 0.0717, 56: 0.0697, 110: 0.0643}


def get_config(arg: str = "20") -> ConfigDict:
    """`arg` is the depth: 20, 32, 44, 56 or 110."""
    depth = int(arg or 20)
    return ConfigDict(
        {
            "model": {"name": "vision.resnet", "family": "cifar", "depth": depth},
            "data": {
                "source": {"name": "cifar10"},
                "batch_size": 128,
                "splits": {"train": "train[:45000]", "val": "train[45000:]", "test": "test"},
                "transforms": ("pad_crop:4", "flip", "normalise"),
                "eval_transforms": ("normalise",),
            },
            "task": {"name": "classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "sgd",
                "learning_rate": 0.1,
                "momentum": 0.9,
                "weight_decay": 1e-4,
                "schedule": "step",
                "boundaries": (32000, 48000),
                "factor": 0.1,
                "warmup_steps": 400 if depth >= 110 else 0,
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 1000},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
            ),
            "train": {"steps": 64000, "log_every": 100, "save_every": 2000},
            "baseline": {
                "kind": "published",
                "metric": "test/accuracy",
                "value": 1 - ERRORS[depth],
                "source": "arXiv:1512.03385, Table 6",
                "protocol": "45k/5k split, 64k updates of 128, last weights",
                "verified": True,
                "not_run_here": "needs an accelerator: an hour on one, days on 2 cores",
            },
        }
    )
