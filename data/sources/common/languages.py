"""The languages of sources of translations."""

from data.names import nearest
from training.contracts import ConfigError

LANGUAGES = ("de", "en")


def check(source: str, target: str) -> None:
    """Raises ConfigError unless data.source.source and .target are languages that are known."""
    for key, value in (("source", source), ("target", target)):
        if value not in LANGUAGES:
            raise ConfigError(f"data.source.{key} is {value!r}: {nearest(value, LANGUAGES)}")
