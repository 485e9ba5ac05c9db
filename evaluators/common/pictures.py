"""Images as a model met them, made fit to be looked at."""

import numpy as np

from training.contracts import Info

_SLACK = 0.02


def displayable(images: np.ndarray, info: Info) -> np.ndarray:
    """uint8 [n, h, w, 1 or 3] of model inputs [n, h, w, c].

    Inputs in [0, 1] are kept; inputs that were standardised with the source's mean and std are
    undone; anything else is stretched to its own range, image by image. More than 3 channels are
    averaged to one.
    """
    if images.dtype == np.uint8:
        return images if images.shape[-1] in (1, 3) else images[..., :1]
    images = np.nan_to_num(np.asarray(images, np.float64), posinf=0.0, neginf=0.0)
    mean, std = info.statistics.get("mean"), info.statistics.get("std")
    if not _in_range(images) and mean is not None and std is not None:
        restored = images * np.asarray(std) + np.asarray(mean)
        images = restored if _in_range(restored) else images
    if images.shape[-1] not in (1, 3):
        images = images.mean(axis=-1, keepdims=True)
    if not _in_range(images):
        axes = (1, 2, 3)
        low, high = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
        images = (images - low) / np.maximum(high - low, 1e-12)
    return np.round(images.clip(0, 1) * 255).astype(np.uint8)


def _in_range(images: np.ndarray) -> bool:
    return not images.size or (images.min() >= -_SLACK and images.max() <= 1 + _SLACK)


def class_name(info: Info, index: int) -> str:
    """The publisher's name of a class, else its number."""
    return info.class_names[index] if index < len(info.class_names) else str(index)
