"""A family of published models, as data: which tensor is which of our arrays, which key which.

Everything is read both ways: from the publisher to us, and back. A pattern is einops's, from their
axes to ours: "(h k) d -> d h k" is PyTorch's projection [out, in] as [d, heads, head width].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAYER = "{layer}"
"""Stands for a layer's number: "3" in their names, "03" in ours."""


@dataclass(frozen=True)
class Entry:
    """A tensor of theirs, and what it is of ours.

    Attributes:
      theirs: its name, below the family's prefix.
      ours: the path of our array; several paths where theirs holds several arrays, which the
        pattern then puts on a first axis.
      pattern: "their axes -> our axes"; "" where they are the same.
      group: what stands or falls together: "" is the body, which every file has; all of a head's
        tensors are there, or none is.
      outside: whether its name has no prefix in a file of a model with a head.
    """

    theirs: str
    ours: str | tuple[str, ...]
    pattern: str = ""
    group: str = ""
    outside: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Our paths, one or several."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours


REQUIRED = object()
"""In place of a default: the key has to be there."""


@dataclass(frozen=True)
class Key:
    """A key of their config.json and one of our section `model`.

    Attributes:
      ours: in the section.
      theirs: in config.json.
      default: what ours is where theirs is missing or null.
      values: {ours: theirs} where the words differ.
      size: (path, axis) of an array of ours that has it as its length: what is written is that,
        whatever the section says ("width: null" takes a variant's).
    """

    ours: str
    theirs: str
    default: Any = REQUIRED
    values: Mapping[Any, Any] = field(default_factory=dict)
    size: tuple[str, int] | None = None


@dataclass(frozen=True)
class Architecture:
    """A class of theirs: the body, or the body with a head.

    Attributes:
      section: what it says of our section `model`.
      group: the entries of its head; "" where it has none of its own.
    """

    section: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Family:
    """What is known of a family.

    Attributes:
      model: ours, as a config names it.
      model_type: theirs, as config.json names it.
      prefix: of the body's names in a file of a model with a head.
      architectures: by their names; the first is the body alone, and of several that a run fits
        the last is written.
      aliases: {their class: the one of `architectures` as which it is read}.
      entries: all tensors; names with `LAYER` stand once for each layer.
      keys: of config.json and the section.
      fixed: {their key: accepted values}: what our model has no option for. The first is written,
        and is meant where the key is missing.
      ours_fixed: {our key: accepted values}: what theirs has no option for.
      sizes: {their key: (path, axis)}: what our section does not say, and the arrays do.
      lengths: {axis of a pattern: our key or a number}.
      renames: (regular expression, replacement) pairs that make an old name of theirs a new one.
      buffers: regular expressions of tensors that hold nothing learned.
      dropped: the same of what was learned, and no model of ours has: a warning names it.
      tied: {their name: the one that it repeats}, where our model has one array for both.
      body: what our section says where the whole body is meant, a pooler too.
      image: whether inputs are images and not tokens.
    """

    model: str
    model_type: str
    prefix: str
    architectures: Mapping[str, Architecture]
    entries: tuple[Entry, ...]
    keys: tuple[Key, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ours_fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    lengths: Mapping[str, str | int] = field(default_factory=dict)
    renames: tuple[tuple[str, str], ...] = ()
    buffers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    image: bool = False
