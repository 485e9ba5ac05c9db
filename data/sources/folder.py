"""One's own images: a folder with one folder of images for each class.

    PATH/cat/*.jpg  PATH/dog/*.png                    split with a stated seed, or
    PATH/train/cat/*.jpg  PATH/test/cat/*.jpg  ...    split by folders, where PATH/train exists;
                                                      a split without one is drawn from train

Classes are the folders' names in alphabetical order. Files are read in place, in the pipeline;
nothing is copied. Before the first batch every image is decoded once, and what was found is
remembered by path, size and time of change (data/sources/common/image_files.py). Names that begin
with a dot or do not end as an image does are passed over.

Without folders for the splits each class gives `test_fraction` of its images to "test" and
`val_fraction` to "val"; the order within a split is drawn with `split_seed` too, so that any slice
of it is a random sample.
"""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.examples import Arrays, Lazy, fake_image
from data.sources.common import image_files
from training.contracts import ConfigError, DataError, Info

_log = logging.getLogger("reprise.data")
SPLITS = ("train", "val", "test")
_FAKE_CLASSES = 3
_FAKE_EXAMPLES = {"train": 60, "test": 20}


@dataclass(frozen=True)
class Config:
    """Which folder, and how it is split.

    Attributes:
      path: the folder; "" serves fake batches only.
      test_fraction, val_fraction: of each class, unless the split is by folders; "val" exists
        where its fraction is not 0.
      split_seed: draws the split and the order.
      on_bad_image: "stop" on images that do not decode, or "skip" them; either way they are named
        and counted.
      mean, std: by channel in [0, 1], for `normalise`; those of ImageNet.
    """

    path: str = ""
    test_fraction: float = 0.2
    val_fraction: float = 0.0
    split_seed: int = 0
    on_bad_image: str = "stop"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


# Fake batches must not depend on whose folder it is.
TINY: dict[str, object] = {"path": ""}


@dataclass(frozen=True)
class Listing:
    """What lies in the folder: class names, and by split (path, label) in the split's order."""

    class_names: tuple[str, ...]
    files: Mapping[str, tuple[tuple[Path, int], ...]]


@dataclass(frozen=True)
class Folder:
    """The source; see the module's docstring."""

    config: Config

    @functools.cached_property
    def listing(self) -> Listing:
        """What lies in the folder; raises DataError where it is not as it should be."""
        return _listed(self.config)

    @functools.cached_property
    def info(self) -> Info:
        """From a listing of the folder; sizes count images that may turn out not to decode."""
        statistics = {"mean": self.config.mean, "std": self.config.std}
        if not self.config.path:
            names = tuple(f"class_{i}" for i in range(_FAKE_CLASSES))
            sizes = dict(_FAKE_EXAMPLES)
            if self.config.val_fraction:
                sizes["val"] = sizes["test"]
            return Info(sizes, len(names), names, statistics)
        names = self.listing.class_names
        sizes = {split: len(files) for split, files in self.listing.files.items()}
        return Info(sizes, len(names), names, statistics)

    @property
    def encoded(self) -> bool:
        """Images are decoded in the pipeline."""
        return True

    def fake(self, seed: int, index: int) -> Arrays:
        """A decoded image of noise, uint8 [64, 64, 3], and its label."""
        return fake_image(self.info, (64, 64, 3), seed, index)

    def open(self, split: str) -> Lazy:
        """Encoded images and labels by position; DataError for bad images, unless skipped."""
        if not self.config.path:
            raise ConfigError(
                "data.source.path is not given: the folder with a folder for each class"
            )
        files = self.listing.files[split]
        paths = [path for path, _ in files]
        labels = np.array([label for _, label in files], np.int32)
        bad = image_files.bad_images(paths, Path(self.config.path))
        self._report(split, paths, bad)
        good = np.array([i for i, path in enumerate(paths) if path not in bad], np.int64)

        def fetch(positions: np.ndarray) -> Arrays:
            images = [image_files.read(paths[position]) for position in positions]
            return {"image": np.array(images, object), "label": labels[positions]}

        return Lazy(len(paths), fetch, {"image": "S", "label": "int32"}, good if bad else None)

    def names(self, split: str) -> tuple[str, ...]:
        """Each example's file, relative to the folder, by its "index" in evaluation batches."""
        root = Path(self.config.path)
        return tuple(str(path.relative_to(root)) for path, _ in self.listing.files[split])

    def prepare(self) -> None:
        """Decodes every image once and remembers which ones are good."""
        for split in self.info.num_examples:
            self.open(split)

    def verify(self) -> list[str]:
        """A line for each split; raises DataError where an image does not decode."""
        if not self.config.path:
            return []
        self.prepare()
        sizes = ", ".join(f"{size} {split}" for split, size in self.info.num_examples.items())
        return [f"{sizes} images of {self.info.num_classes} classes in {self.config.path}"]

    def _report(self, split: str, paths: list[Path], bad: Mapping[Path, str]) -> None:
        if not bad:
            return
        shown = [f"{path} ({reason})" for path, reason in list(bad.items())[:5]]
        more = f" and {len(bad) - len(shown)} more" if len(bad) > len(shown) else ""
        found = f"{len(bad)} of {len(paths)} images of {split!r} do not decode: " + ", ".join(shown)
        if self.config.on_bad_image == "stop":
            raise DataError(
                f'folder: {found}{more}; mend or remove them, or set on_bad_image="skip"'
            )
        _log.warning("folder: %s%s; they are left out", found, more)


def build(config: Config) -> Folder:
    """The source; raises ConfigError for a value out of range, DataError for a bad folder."""
    if config.on_bad_image not in ("stop", "skip"):
        raise ConfigError(
            f"data.source.on_bad_image is {config.on_bad_image!r}: accepted are 'stop' and 'skip'"
        )
    for name in ("test_fraction", "val_fraction"):
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(
                f"data.source.{name} is {getattr(config, name)}: accepted are 0 to below 1"
            )
    if config.test_fraction + config.val_fraction >= 1:
        raise ConfigError("data.source: test_fraction and val_fraction leave nothing to train on")
    source = Folder(config)
    if config.path:
        # Here, so that a wrong path is said before anything is compiled.
        _ = source.listing
    return source


def _listed(config: Config) -> Listing:
    root = Path(config.path)
    if not root.is_dir():
        raise DataError(
            f"folder: data.source.path is {config.path}, which is not a folder; "
            "it must hold one folder of images for each class"
        )
    by_folders = (root / "train").is_dir()
    roots = {split: root / split for split in SPLITS if (root / split).is_dir()}
    roots = roots if by_folders else {"": root}
    names = {split: _class_folders(folder) for split, folder in roots.items()}
    class_names = names["train" if by_folders else ""]
    for split, found in names.items():
        if found != class_names:
            odd = sorted(set(found) ^ set(class_names))[0]
            raise DataError(
                f"folder: {roots[split]} and {root / 'train'} differ in the class {odd!r}"
            )
    files = {split: _by_class(folder, class_names) for split, folder in roots.items()}
    rest = files.pop("train" if by_folders else "")
    files |= _split(rest, config, [split for split in SPLITS if split not in files])
    # One stream for all: the order must not tell the class.
    ordered = {}
    for split, by_class in files.items():
        pairs = [(path, label) for label, paths in enumerate(by_class) for path in paths]
        order = np.random.default_rng((config.split_seed, 1)).permutation(len(pairs))
        ordered[split] = tuple(pairs[i] for i in order)
    return Listing(class_names, {split: ordered[split] for split in SPLITS if ordered.get(split)})


def _class_folders(folder: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise DataError(f"folder: {folder} holds no folders; it must hold one for each class")
    return tuple(names)


def _by_class(folder: Path, class_names: tuple[str, ...]) -> list[list[Path]]:
    files = [image_files.images_below(folder / name) for name in class_names]
    for name, found in zip(class_names, files, strict=True):
        if not found:
            raise DataError(
                f"folder: the class folder {folder / name} holds no image "
                f"({', '.join(image_files.SUFFIXES)}); fill it or remove it"
            )
    return files


def _split(
    by_class: list[list[Path]], config: Config, wanted: list[str]
) -> dict[str, list[list[Path]]]:
    """Each class shuffled with the seed and cut; a class of n gives round(fraction * n).

    What a split that is not wanted would have had stays in "train".
    """
    fractions = {
        "test": config.test_fraction if "test" in wanted else 0.0,
        "val": config.val_fraction if "val" in wanted else 0.0,
    }
    parts: dict[str, list[list[Path]]] = {split: [] for split in wanted}
    for label, paths in enumerate(by_class):
        order = np.random.default_rng((config.split_seed, 0, label)).permutation(len(paths))
        shuffled = [paths[i] for i in order]
        cut = 0
        for split, fraction in fractions.items():
            size = round(fraction * len(paths))
            if fraction and (not size or cut + size >= len(paths)):
                raise DataError(
                    f"folder: {paths[0].parent} holds {len(paths)} images, too few to split into "
                    + " and ".join(f"{s}_fraction {f}" for s, f in fractions.items() if f)
                )
            if split in wanted:
                parts[split].append(shuffled[cut : cut + size])
            cut += size
        parts["train"].append(shuffled[cut:])
    return parts
