"""Checks of a model's numbers, for `build`: a layer would refuse them far from the config."""

from typing import Any


def check_sizes(config: Any, *fields: str, least: int = 1) -> None:
    """Raises ValueError unless each of the fields is at least `least`, or None."""
    for field in fields:
        value = getattr(config, field)
        if value is not None and value < least:
            raise ValueError(f"model.{field}={value}: expected at least {least}")


def check_rates(config: Any, *fields: str) -> None:
    """Raises ValueError unless each of the fields is a probability below 1."""
    for field in fields:
        value = getattr(config, field)
        if not 0 <= value < 1:
            raise ValueError(f"model.{field}={value}: expected a probability from 0 to below 1")
