"""From a Figure to what a page shows: plain values for the templates, with pictures inlined."""

import base64
import io
from typing import Any

import numpy as np

from training.figures import Bars, Curve, Figure, Frames, Graph, Heatmap, Images, Scatter, TextTable
from training.plots import draw_bars, draw_curve, draw_graph, draw_scatter

# Up to this side a picture is enlarged without smoothing: its pixels are what the model met.
PIXELATED = 64
LARGEST_SIDE = 256
# More rows or columns than this are drawn as a picture and not as a table of numbers.
LARGEST_TABLE = 24
MOST_FRAMES = 240


def draw(figure: Figure) -> dict[str, Any]:
    """A figure as the template wants it: {"kind", "title", ...}."""
    match figure:
        case Curve():
            return draw_curve(figure)
        case Heatmap():
            return draw_heatmap(figure)
        case Images():
            return draw_images(figure)
        case Frames():
            return draw_frames(figure)
        case Scatter():
            return draw_scatter(figure)
        case Graph():
            return draw_graph(figure)
        case Bars():
            return draw_bars(figure)
        case TextTable():
            return {
                "kind": "table",
                "title": figure.title,
                "columns": figure.columns,
                "rows": figure.rows,
            }
    raise ValueError(f"{type(figure).__name__} is no figure")


def draw_heatmap(heatmap: Heatmap) -> dict[str, Any]:
    """A table of shaded numbers; a picture where it is large.

    Counts with the same names on both sides are a confusion matrix: shaded by the share of their
    row, what lies off the diagonal in another hue.
    """
    values = np.asarray(heatmap.values, np.float64)
    confusion = bool(heatmap.row_labels) and heatmap.row_labels == heatmap.column_labels
    shade = _row_shares(values) if confusion else _stretched(values)
    whole = np.asarray(heatmap.values).dtype.kind in "iub"
    drawn: dict[str, Any] = {
        "title": heatmap.title,
        "row_title": heatmap.row_title,
        "column_title": heatmap.column_title,
        "confusion": confusion,
        "alt": f"{heatmap.title}: {values.shape[0]} rows and {values.shape[1]} columns",
    }
    if max(values.shape) > LARGEST_TABLE:
        wrong = confusion * (1 - np.eye(len(values))) if confusion else np.zeros(values.shape)
        return drawn | {"kind": "heat_picture", "source": _heat_png(shade, wrong)}
    rows = []
    for r, row in enumerate(values):
        cells = [
            {
                "text": _cell(value, whole, confusion),
                "shade": round(float(shade[r, c]), 3),
                "wrong": confusion and r != c,
            }
            for c, value in enumerate(row)
        ]
        label = heatmap.row_labels[r] if heatmap.row_labels else str(r)
        rows.append({"label": label, "cells": cells})
    columns = heatmap.column_labels or tuple(map(str, range(values.shape[1])))
    upright = max(map(len, columns), default=0) > 3
    return drawn | {"kind": "heatmap", "columns": columns, "rows": rows, "upright": upright}


def _row_shares(values: np.ndarray) -> np.ndarray:
    """The root of each count's share of its row: rare mistakes stay visible."""
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def _stretched(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape)
    low, span = finite.min(), np.ptp(finite) or 1.0
    return np.nan_to_num((values - low) / span)


def _cell(value: float, whole: bool, confusion: bool) -> str:
    if confusion and not value:
        return ""
    if not np.isfinite(value):
        return "–"
    return f"{int(value)}" if whole else f"{value:.3g}"


def draw_images(figure: Images) -> dict[str, Any]:
    """Pictures with captions, and heat over those whose overlay is not empty."""
    items = []
    pictures = _bytes(figure.images)
    pixelated = max(pictures.shape[1:3]) <= PIXELATED
    for number, picture in enumerate(pictures):
        heat = None if figure.overlays is None else np.asarray(figure.overlays[number], np.float64)
        items.append(
            {
                "source": _encode(picture),
                "heat": _heat_overlay(heat) if heat is not None and heat.max() > 0 else "",
                "caption": figure.captions[number] if figure.captions else "",
                "ratio": f"{picture.shape[1]} / {picture.shape[0]}",
            }
        )
    return {
        "kind": "images",
        "title": figure.title,
        "pictures": items,
        "pixelated": pixelated,
        "columns": figure.columns,
    }


def draw_frames(figure: Frames) -> dict[str, Any]:
    """An animated picture, and its first frame for those who want no motion."""
    from PIL import Image

    step = -(-len(figure.frames) // MOST_FRAMES)
    frames = _bytes(figure.frames)[:: max(step, 1)]
    pictures = [Image.fromarray(f[..., 0] if f.shape[-1] == 1 else f) for f in frames]
    pictures = [p.convert("RGB") for p in pictures]
    file = io.BytesIO()
    pictures[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=max(1, round(1000 * max(step, 1) / figure.frames_per_second)),
        loop=0,
        lossless=max(frames.shape[1:3]) <= PIXELATED,
    )
    return {
        "kind": "frames",
        "title": figure.title,
        "film": _data_uri(file.getvalue(), "webp"),
        "still": _encode(frames[0]),
        "pixelated": max(frames.shape[1:3]) <= PIXELATED,
        "caption": f"{len(figure.frames)} frames, {figure.frames_per_second:g} a second",
    }


def _bytes(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.round(np.nan_to_num(images.astype(np.float64)).clip(0, 1) * 255).astype(np.uint8)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encode(picture: np.ndarray) -> str:
    """PNG of small pictures [h, w, 1 or 3], JPEG of large ones, reduced to LARGEST_SIDE."""
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    file = io.BytesIO()
    if max(picture.shape[:2]) <= PIXELATED:
        image.save(file, "PNG", optimize=True)
        return _data_uri(file.getvalue(), "png")
    image.save(file, "JPEG", quality=85)
    return _data_uri(file.getvalue(), "jpeg")


def _heat_overlay(heat: np.ndarray) -> str:
    """Nothing where heat is 0, then orange, then yellow where it is 1."""
    heat = np.nan_to_num(heat).clip(0, 1)[..., None]
    colour = (1 - heat) * [255, 92, 0] + heat * [255, 226, 64]
    alpha = 0.82 * heat**0.9 * 255
    return _rgba(np.concatenate([colour, alpha], axis=-1))


def _heat_png(shade: np.ndarray, wrong: np.ndarray) -> str:
    """Blue by shade, orange where `wrong` is 1; transparent at 0, for any background."""
    wrong = wrong[..., None]
    colour = (1 - wrong) * [58, 112, 226] + wrong * [226, 106, 30]
    return _rgba(np.concatenate([colour, 255 * shade.clip(0, 1)[..., None]], axis=-1))


def _rgba(values: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.round(values).astype(np.uint8), "RGBA").save(file, "PNG", optimize=True)
    return _data_uri(file.getvalue(), "png")
