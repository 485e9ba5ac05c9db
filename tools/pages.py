"""RESULTS.md, results/index.html and README.md's summary: what the records say, for a person.

All three are made from the records and the configs alone, and made again after every record.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from tools import board, outcomes
from tools.outcomes import Row
from tools.wordings import (
    MEANINGS,
    WORDS,
    both,
    cost,
    published,
    repeats,
    sentence,
    trivial,
)
from training import files
from training.contracts import ConfigError

MARK = "<!-- results -->"


def render(out: Path, root: Path | None) -> list[Row]:
    """Writes the pages from the records below `out`, and into these the verdicts of today.

    Args:
      out: the folder of the records; the board is its index.html.
      root: where RESULTS.md and README.md are; None: RESULTS.md in `out`, no README.md.
    """
    rows = outcomes.rows(out)
    for row in rows:
        if row.record is not None:
            outcomes.write(row, outcomes.judged(row, row.record), out)
    for path, text in pages(rows, out, root).items():
        files.write_whole(epath.Path(path), text)
    return rows


def pages(rows: Sequence[Row], out: Path, root: Path | None) -> dict[Path, str]:
    """{path: text} of what `render` writes."""
    found = {out / "index.html": board.html(rows), (root or out) / "RESULTS.md": results_page(rows)}
    if root is not None:
        readme = root / "README.md"
        found[readme] = summarised(readme, rows)
    return found


def summarised(readme: Path, rows: Sequence[Row]) -> str:
    """README.md with the summary between its two marks; ConfigError where they are not."""
    pieces = readme.read_text().split(MARK)
    if len(pieces) != 3:
        raise ConfigError(f"{readme} needs the mark {MARK} twice, around the summary")
    return f"{pieces[0]}{MARK}\n{summary(rows)}\n{MARK}{pieces[2]}"


def summary(rows: Sequence[Row]) -> str:
    """Counts, and a table of what was measured."""
    recorded = [row for row in rows if row.record]
    head = [
        "config",
        "verdict",
        "published",
        "measured (95 % interval)",
        "repeats",
        "seconds in all",
    ]
    body = [
        [
            f"`{row.spec}`", row.verdict.word, published(row), both(row, rows), repeats(row),
            f"{row.record['seconds']:,.0f}",
        ]
        for row in recorded if row.record
    ]  # fmt: skip
    return f"{counts(rows)}\n\n{_table(head, body)}"


def counts(rows: Sequence[Row]) -> str:
    """'39 rows: 5 REPRODUCED, 2 SHORT, ...'."""
    found = Counter(row.verdict.word for row in rows)
    return f"{len(rows)} rows: " + ", ".join(f"{found[w]} {w}" for w in WORDS if found[w]) + "."


def results_page(rows: Sequence[Row]) -> str:
    """RESULTS.md."""
    head = [
        "config", "metric", "verdict", "published", "measured (95 % interval)", "repeats",
        "without learning", "time in all",
    ]  # fmt: skip
    body = [
        [
            f"`{row.spec}`", row.baseline["metric"], row.verdict.word, published(row),
            both(row, rows), repeats(row), trivial(row), cost(row),
        ]
        for row in rows
    ]  # fmt: skip
    sentences = [f"- `{row.spec}`, **{row.verdict.word}**: {sentence(row)}" for row in rows]
    meanings = [f"- **{word}**: {MEANINGS[word]}." for word in WORDS]
    return "\n".join(
        [
            "# Results",
            "",
            "Made by `python -m tools.reproduce --render` from the records in `results/`; "
            "`results/index.html` is the same with plots.",
            "`python -m tools.reproduce NAME` measures a row again. A row named `config:argument` "
            "stands beside the one above it: another way to the number.",
            "",
            counts(rows),
            "",
            _table(head, body),
            "",
            "## Why",
            "",
            *sentences,
            "",
            "## The words",
            "",
            *meanings,
            "",
        ]
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
