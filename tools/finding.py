"""One line of tools/doctor.py."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
      level: "ok"; "warn": works, but not as well as it could; "fault": something will fail.
      subject: what was looked at.
      text: what was found.
      remedy: how to mend it, "" where nothing is to mend.
    """

    level: Literal["ok", "warn", "fault"]
    subject: str
    text: str
    remedy: str = ""
