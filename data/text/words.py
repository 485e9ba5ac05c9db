"""How a text is cut into words: at white space, or by spaCy's rules of a language.

spaCy's are those of `spacy.blank`, which needs no model; they are what published numbers of
Multi30k are counted on. A text is cut as it is written and its words are lower-cased afterwards.
"""

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any

from training.contracts import ConfigError

Splitter = Callable[[str], list[str]]
WHITESPACE = "whitespace"
_SPACY = "spacy:"


def check(name: str, where: str) -> None:
    """Raises ConfigError for what is no splitter's name; imports nothing."""
    if name != WHITESPACE and not (name.startswith(_SPACY) and name[len(_SPACY) :].isalpha()):
        raise ConfigError(
            f"{where} is {name!r}: accepted are {WHITESPACE!r} and spaCy's rules of a language, "
            "such as 'spacy:de'"
        )


def splitter(name: str, lowercase: bool) -> Splitter:
    """The function from a text to its words, in order.

    Raises ConfigError for an unknown language, and where spaCy is not installed.
    """
    if name == WHITESPACE:
        return lambda text: (text.lower() if lowercase else text).split()
    rules = _rules(name.removeprefix(_SPACY))

    def cut(text: str) -> list[str]:
        found = [token.text for token in rules(text.strip())]
        return [word.lower() for word in found] if lowercase else found

    return cut


def version(name: str) -> str:
    """The version of what cuts, whose rules may change with it; "" where it is not installed."""
    if name == WHITESPACE:
        return ""
    try:
        return importlib.metadata.version("spacy")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _rules(language: str) -> Any:
    """spaCy's tokenizer of a language."""
    try:
        import spacy
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the splitter 'spacy:{language}' needs spaCy, and {error.name} is not installed: "
            "install the extra `text` (locks/text.txt)"
        ) from error
    try:
        return spacy.blank(language).tokenizer
    except ImportError as error:
        raise ConfigError(
            f"the splitter 'spacy:{language}': spaCy has no rules of the language {language!r}"
        ) from error
