"""A small ViT on one's own folder of images, one folder a class.

    python train.py --config=configs/vision/vit_folder.py:path/to/images

Expected: depends on the images. 10 % of each class are held out to select the weights and 20 % to
test them, unless the folder has folders train/, val/ and test/ of its own (data/sources/folder.py).
Images are resized to 64 pixels.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """`arg` is the folder."""
    return ConfigDict(
        {
            "model": {
                "name": "vision.vit",
                "patch_size": 8,
                "width": 96,
                "depth": 6,
                "heads": 3,
                "pool": "gap",
                "stochastic_depth_rate": 0.1,
            },
            "data": {
                "source": {"name": "folder", "path": arg or "", "val_fraction": 0.1},
                "batch_size": 32,
                "splits": {"train": "train", "val": "val", "test": "test"},
                "transforms": ("random_resized_crop:64,0.5", "flip", "normalise"),
                "eval_transforms": ("resize:64", "normalise"),
            },
            "task": {"name": "classification", "label_smoothing": 0.1},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": "cosine",
                "warmup_steps": 100,
                "weight_decay": 0.05,
                "clip_norm": 1.0,
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 100},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
                {"name": "attention", "split": "test"},
            ),
            "train": {
                "steps": 2000,
                "log_every": 20,
                "save_every": 200,
                "select": {"metric": "val/accuracy", "mode": "max"},
                "test_weights": "best",
            },
            "baseline": {
                "kind": "own",
                "metric": "test/accuracy",
                "value": None,
                "protocol": "a tenth of each class selects the weights, a fifth is the test set",
                "not_run_here": "needs a folder of one's own images",
            },
        }
    )
