"""ResNet-50 on ImageNet, as google/flax's example trains it.

    python train.py --config=configs/vision/resnet50_imagenet.py

Expected: 76.37 % top-1 on the 50,000 validation images (google/flax examples/imagenet/README.md,
TPU v3-8, 4.4 h; its other machines gave 76.27 to 76.72). Batch 1024, Nesterov momentum 0.9, rate
0.1 per 256 images, five epochs of warm-up, cosine over 100 epochs, weight decay 1e-4 on kernels.
He et al. 2015, arXiv:1512.03385.
For v5e, v5p and v6e slices it compiles in under 4 minutes; on v6e:4x4 libtpu 0.0.50 dies of a stack
overflow unless JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1 asks the compiler for its least effort.
Differs: 1 % of the training images are held out, so that learning can be watched without the test
set.
"""

from ml_collections import ConfigDict

from configs.common.epochs import steps


def get_config(arg: str = "100") -> ConfigDict:
    """`arg` is the number of epochs."""
    batch_size, examples = 1024, 1_281_167 * 99 // 100
    return ConfigDict(
        {
            "model": {
                "name": "vision.resnet",
                "family": "imagenet",
                "depth": 50,
                "zero_init_residual": True,
                "dtype": "bfloat16",
            },
            "data": {
                "source": {"name": "imagenet2012"},
                "batch_size": batch_size,
                "splits": {"train": "train[:99%]", "val": "train[99%:]", "test": "validation"},
                "transforms": ("random_resized_crop:224", "flip", "normalise"),
                "eval_transforms": ("resize_small:256", "center_crop:224", "normalise"),
            },
            "task": {"name": "classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "sgd",
                "learning_rate": 0.1 * batch_size / 256,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 1e-4,
                "schedule": "cosine",
                "warmup_steps": steps(5, examples, batch_size),
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 2000},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
            ),
            "train": {
                "steps": steps(float(arg or 100), examples, batch_size, 100),
                "log_every": 100,
                "save_every": 1000,
            },
            "baseline": {
                "kind": "published",
                "metric": "test/accuracy",
                "value": 0.7637,
                "source": "google/flax examples/imagenet/README.md (TPU v3-8)",
                "protocol": "100 epochs, batch 1024, last weights, centre crop 224 of 256",
                "verified": True,
                "not_run_here": "needs an accelerator: 4.4 hours on a TPU v3-8, and ImageNet",
            },
        }
    )
