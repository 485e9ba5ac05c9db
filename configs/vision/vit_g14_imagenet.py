"""A 1.36 B parameter ViT on ImageNet: what FSDP, a scan over layers and rematerialisation are for.

    python train.py --config=configs/vision/vit_g14_imagenet.py

Between ViT-g/14 (1.0 B) and ViT-G/14 (1.8 B) of Zhai et al. 2021, arXiv:2106.04560, table 2, in
sizes that fill a TPU's matrix units: width 1536, 48 layers, 12 heads of 128, MLP 6144, and 256
patches. Nobody has published a model of this size trained on ImageNet alone, so that there is no
baseline: ViT-H from scratch reaches 83.1 % (He et al. 2021, arXiv:2111.06377, appendix A.2), whose
recipe this is. It is here to be compiled for pods before they are paid for (README):

    python -m tools.compile --config=configs/vision/vit_g14_imagenet.py --topology=v5e:16x16
"""

from ml_collections import ConfigDict

from configs.common.epochs import steps

AUGMENTATION = (
    "random_resized_crop:224",
    "flip",
    "randaugment:2,9",
    "normalise",
    "mixup:0.8,0.5",
    "cutmix:1.0,0.5",
)


def get_config(arg: str = "200") -> ConfigDict:
    """`arg` is the number of epochs."""
    batch_size, examples = 4096, 1_281_167 * 99 // 100
    return ConfigDict(
        {
            "model": {
                "name": "vision.vit",
                "width": 1536,
                "depth": 48,
                "heads": 12,
                "mlp_width": 6144,
                "patch_size": 14,
                "pool": "gap",
                "positions": "sincos2d",
                "stochastic_depth_rate": 0.2,
                "scan_layers": True,
                "remat": "full",
                "dtype": "bfloat16",
            },
            "data": {
                "source": {"name": "imagenet2012"},
                "batch_size": batch_size,
                "splits": {"train": "train[:99%]", "val": "train[99%:]", "test": "validation"},
                "transforms": AUGMENTATION,
                "eval_transforms": ("resize_small:256", "center_crop:224", "normalise"),
            },
            "task": {"name": "classification", "label_smoothing": 0.1},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-4 * batch_size / 256,
                "b2": 0.95,
                "weight_decay": 0.3,
                "schedule": "cosine",
                "warmup_steps": steps(20, examples, batch_size),
                "ema_decay": 0.9999,
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 2500},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
            ),
            "mesh": {"data": 1, "fsdp": -1},
            "train": {
                "steps": steps(float(arg or 200), examples, batch_size, 100),
                "log_every": 50,
                "save_every": 1000,
            },
            "baseline": {
                "kind": "own",
                "metric": "test/accuracy",
                "protocol": "200 epochs, batch 4096, averaged weights, centre crop 224 of 256",
                "not_run_here": "needs an accelerator: a TPU slice for days, and ImageNet",
            },
        }
    )
