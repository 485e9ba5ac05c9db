"""A user's own image files as examples of a run's source: found, decoded, and served as its data
are.

Sources that keep whole images in memory take arrays of one shape: files are decoded by Pillow and
brought to the source's channels and size. Sources whose pipeline decodes take the bytes of the file
as they are, so that they meet the decoder of training; what only Pillow reads reaches it as PNG.
Letters: n images, h w c of one.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from data.examples import Arrays, Examples, ImageSource, Lazy, Memory, Source
from data.pipelines import examples
from data.runtime import tensorflow
from data.sources.common.image_files import images_below
from training.contracts import ConfigError, Info, Pipeline

SPLIT = "inputs"
_UNDECODABLE = (
    OSError,
    ValueError,
    SyntaxError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


class UndecodableError(ValueError):
    """A file that is no image; its text is the reason."""


def find(inputs: Sequence[str]) -> list[Path]:
    """The files that `inputs` name: files, folders of images, patterns; ConfigError for nothing."""
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        pattern = str(path.relative_to(path.anchor))
        try:
            named = [path] if path.exists() else sorted(Path(path.anchor).glob(pattern))
        except ValueError as error:
            raise ConfigError(f"--inputs={text} is not a pattern: {error}") from error
        files = [f for path in named for f in (images_below(path) if path.is_dir() else [path])]
        if not files:
            what = (
                "a folder without images" if Path(text).is_dir() else "no file, folder or pattern"
            )
            raise ConfigError(f"--inputs={text}: {what}")
        found.update(dict.fromkeys(files))
    return list(found)


@dataclass(frozen=True)
class Given:
    """Examples in memory in place of a source's own; a Source of the one split `inputs`."""

    source: Source
    examples: Examples

    @property
    def info(self) -> Info:
        """The source's, with the size of what is given."""
        return dataclasses.replace(self.source.info, num_examples={SPLIT: len(self.examples)})

    def fake(self, seed: int, index: int) -> Arrays:
        """The source's."""
        return self.source.fake(seed, index)

    def open(self, split: str) -> Examples:
        """What is given."""
        del split
        return self.examples

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def verify(self) -> list[str]:
        """There is nothing on a disk."""
        return []


class Images:
    """Reads files for one run and makes evaluation pipelines of them."""

    def __init__(self, config: examples.Config, source: Source) -> None:
        self._config = dataclasses.replace(config, splits={SPLIT: SPLIT})
        self._source = source
        example = source.fake(0, 0)
        if "image" not in example:
            raise ConfigError(f"the run reads {', '.join(example)} and no images")
        self._encoded = cast(ImageSource, source).encoded
        self._shape = example["image"].shape

    def read(self, path: Path) -> Any:
        """uint8 [h, w, c], or the file's bytes; raises UndecodableError."""
        try:
            return _bytes(path) if self._encoded else _array(path, self._shape)
        except UnidentifiedImageError as error:
            raise UndecodableError("not an image") from error
        except _UNDECODABLE as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise UndecodableError(str(reason) or type(error).__name__) from error

    def pipeline(self, images: Sequence[Any]) -> Pipeline:
        """The evaluation pipeline over what `read` gave, labels all 0."""
        labels = np.zeros(len(images), np.int32)
        if self._encoded:
            data = np.empty(len(images), object)
            data[:] = images
            given: Examples = Lazy(
                len(images),
                _fetch({"image": data, "label": labels}),
                {"image": "S", "label": "int32"},
            )
        else:
            given = Memory({"image": np.stack(images), "label": labels})
        source = Given(self._source, given)
        return examples.build(self._config, source, SPLIT, train=False, seed=0)


def _fetch(arrays: Mapping[str, np.ndarray]) -> Any:
    return lambda positions: {name: array[positions] for name, array in arrays.items()}


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 of `shape` [h, w, c]: grey or RGB, resized where its sides differ."""
    height, width, channels = shape
    with Image.open(path) as image:
        image = _eight_bits(image).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits a pixel lose their lower half; Pillow's own conversion would cut them off at 255."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    tf = tensorflow()
    try:
        tf.io.decode_image(data, 3, expand_animations=False)
    except (tf.errors.OpError, ValueError):
        with Image.open(io.BytesIO(data)) as image, io.BytesIO() as file:
            _eight_bits(image).convert("RGB").save(file, "png")
            return file.getvalue()
    return data
