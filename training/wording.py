"""Numbers and names as a person reads them."""

import math

PERCENTAGES = ("accuracy", "top1", "top5")


def is_percentage(metric: str) -> bool:
    """Whether a metric such as "val/accuracy" is shown in percent."""
    return metric.rsplit("/", 1)[-1] in PERCENTAGES


def show(value: float | None, metric: str, digits: int = 2) -> str:
    """'98.06 %' of an accuracy, '0.0421' of anything else, a dash of nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if is_percentage(metric):
        return f"{100 * value:.{digits}f} %"
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def show_spread(value: float | None, std: float | None, metric: str) -> str:
    """'98.06 ± 0.31 %' of an accuracy's mean and std; the value alone where std is 0 or None."""
    if value is None or not std or not math.isfinite(std):
        return show(value, metric)
    if is_percentage(metric):
        return f"{100 * value:.2f} ± {100 * std:.2f} %"
    return f"{show(value, metric)} ± {std:.2g}"


def words(name: str) -> str:
    """'Macro F1' of "macro_f1"."""
    text = name.replace("_", " ").replace("top5", "top-5")
    for word in ("roc auc", "f1"):
        text = text.replace(word, word.upper())
    return text[:1].upper() + text[1:]


def spoken(metric: str) -> str:
    """'test accuracy' of "test/accuracy"."""
    return metric.replace("/", " ").replace("_", " ")


def count(value: float | None) -> str:
    """'12,345' or '0.0123'; '' of nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share(value: float | None) -> str:
    """'1.2 %' of 0.012; '' of nothing."""
    return "" if value is None else f"{100 * value:.1f} %"


def size(value: float | None) -> str:
    """'1.50 GiB' of bytes; '' of nothing."""
    if not value:
        return ""
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def duration(seconds: float | None) -> str:
    """'12.3 s', '3 min 20 s' or '2 h 5 min'; '' of nothing."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
