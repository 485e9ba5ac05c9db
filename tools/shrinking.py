"""What --smoke makes of a config: the whole path in seconds on a CPU."""

import re
from collections.abc import Mapping
from typing import Any

import jax

from tools import find, resolve

# Half of 224 pixels still divides by patches of 14 and 16.
LARGE_IMAGE = 128
_SIZED = re.compile(r"(resize|resize_small|center_crop|random_resized_crop):(\d+)(.*)")


def shrink(full: Mapping[str, Any]) -> dict[str, Any]:
    """Any config in seconds on a CPU: TINY parts, few steps, fake data, all intervals different."""
    small = dict(full)
    for section in resolve.PARTS:
        small[section] = {**full[section], **find.part(section, full[section]["name"]).TINY}
    source = full["data"]["source"]
    tiny_source = {**source, **find.part("data.source", source["name"]).TINY}
    accumulation = 1
    if resolve.networks(full["optimizer"]):
        small["optimizer"] = {k: _tiny_optimizer(v) for k, v in full["optimizer"].items()}
    else:
        small["optimizer"] = _tiny_optimizer(full["optimizer"])
        accumulation = full["optimizer"]["accumulation_steps"]
    parts = jax.device_count() * accumulation
    small["data"] = {**_tiny_data(full["data"], parts), "source": tiny_source}
    k = 2 if full["train"]["steps_per_call"] > 1 else 1
    small["train"] = {
        **full["train"],
        "steps": 12 * k,
        "steps_per_call": k,
        "log_every": 3 * k,
        "save_every": 5 * k,
        "ensemble": min(full["train"]["ensemble"], 2),
        # Weights of other sizes than TINY's need not be there; the command line may give some.
        "init_from": "",
    }
    small["evaluators"] = tuple(
        {
            **e,
            "every": 4 * k if e["every"] else 0,
            "options": {**e["options"], **find.part("evaluators", e["name"]).TINY},
        }
        for e in full["evaluators"]
    )
    return {**small, "smoke": True}


def _tiny_data(section: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """Few examples in a batch, and at least `parts`; 0, which is all of a split, stays."""
    small: dict[str, Any] = {**section, **find.part("data.pipeline", section["pipeline"]).TINY}
    if small["batch_size"]:
        small["batch_size"] = parts * max(1, 8 // parts)
    if "packs" in small:
        small["packs"] = parts
    for name in ("transforms", "eval_transforms"):
        if name in small:
            small[name] = tuple(map(_halved, small[name]))
    return small


def _halved(transform: str) -> str:
    """The transform at half its size: center_crop:112 of center_crop:224; small ones stay."""
    found = _SIZED.fullmatch(transform)
    if found is None or int(found[2]) <= LARGE_IMAGE:
        return transform
    return f"{found[1]}:{int(found[2]) // 2}{found[3]}"


def _tiny_optimizer(section: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **section,
        "warmup_steps": min(section["warmup_steps"], 2),
        "decay_steps": None if section["decay_steps"] is None else 12,
        "boundaries": tuple(range(4, 4 + 2 * len(section["boundaries"]), 2)),
    }
