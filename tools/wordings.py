"""What a row says in words, the same on every page."""

from collections.abc import Iterable

from tools.outcomes import Row
from training import wording

# From the best news to none; every row has one of these.
WORDS = (
    "REPRODUCED",
    "SHORT",
    "FEW SEEDS",
    "NOT JUDGED",
    "UNVERIFIED",
    "REDUCED",
    "OWN",
    "NOT RUN",
    "NOT RUN HERE",
)
MEANINGS = {
    "REPRODUCED": "the worse end of our 95 % interval is within the tolerance of the paper",
    "SHORT": "it is worse than that",
    "FEW SEEDS": "measured with fewer repeats than a verdict asks for: together they take hours",
    "NOT JUDGED": "measured with fewer repeats than a verdict asks for, or by another config",
    "UNVERIFIED": "the source of the published number was not read",
    "REDUCED": "a smaller protocol than the paper's; only a rerun is held against the number",
    "OWN": "nobody published a number for this",
    "NOT RUN": "no record yet",
    "NOT RUN HERE": "needs an accelerator, or data that is not here",
}


def published(row: Row) -> str:
    """The paper's number; a dash where there is none."""
    stated = row.baseline
    return wording.show(stated["value"], stated["metric"]) if stated["value"] is not None else "–"


def measured(row: Row) -> str:
    """'81.46 % (81.32 to 81.60)' of a record; a dash without one."""
    if row.record is None:
        return "–"
    metric, interval = row.record["metric"], row.record["interval"]
    text = wording.show(row.record["mean"], metric)
    if not interval:
        return text
    low, high = (wording.show(end, metric).removesuffix(" %") for end in interval)
    return f"{text} ({low} to {high})"


def beside(row: Row, rows: Iterable[Row]) -> str:
    """'validated 84.44 % (79.56 to 89.33)' of the rows that stand beside this one; "" of none."""
    found = [
        f"{other.spec.partition(':')[2]} {measured(other)}"
        for other in rows
        if other.record and other.spec.startswith(f"{row.spec}:")
    ]
    return "; ".join(found)


def both(row: Row, rows: Iterable[Row]) -> str:
    """What was measured, and by the protocols beside it: a flattering number never stands alone."""
    other = beside(row, rows)
    return f"{measured(row)}; {other}" if other else measured(row)


def trivial(row: Row) -> str:
    """'10.31 %, always the commonest class'; a dash where none is known."""
    if row.record is None or row.record["trivial"] is None:
        return "–"
    found = row.record["trivial"]
    return f"{wording.show(found['value'], row.record['metric'])}, {found['name']}"


def cost(row: Row) -> str:
    """What all runs took."""
    return wording.duration(row.record["seconds"]) if row.record else "–"


def repeats(row: Row) -> str:
    """How many values the mean is of."""
    return str(len(row.record["values"])) if row.record else "–"


def sentence(row: Row) -> str:
    """The verdict's reason; of a SHORT row also why, and what was tried."""
    found = row.verdict
    text = found.sentence if found.sentence.endswith(".") else f"{found.sentence}."
    return f"{text} {row.baseline['short']}" if found.word == "SHORT" else text
