"""What became of a bar: the figures over its pairs, the verdict, one line for people, one entry in the record.

The record is a JSON list that only grows. It names sizes, versions and cores, and neither the machine nor a path on it.
"""

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.frame.bar import Bar, BarError, Limit, Outcome
from benchmarks.frame.pairs import Pair


class Figure(NamedTuple):
    """A limit's figure over all pairs: median, lowest and highest."""

    limit: Limit
    median: float
    lowest: float
    highest: float

    @property
    def holds(self) -> bool:
        """Whether the median is within the limit."""
        return self.median <= self.limit.at_most


class Result(NamedTuple):
    """A bar's pairs, judged."""

    bar: Bar
    is_quick: bool
    pairs: Sequence[Pair]
    figures: Sequence[Figure]

    @property
    def holds(self) -> bool:
        """Whether all limits hold."""
        return all(figure.holds for figure in self.figures)

    @property
    def line(self) -> str:
        """The line that people read: name, figures with their spread, limits, verdict."""
        shown = ", ".join(
            f"{f.limit.figure} {f.median:.3g}{f.limit.unit} ({f.lowest:.3g}..{f.highest:.3g})" for f in self.figures
        )
        limits = ", ".join(f"{f.limit.at_most:g}{f.limit.unit}" for f in self.figures)
        return f"{self.bar.name}  {shown}  limit {limits}  {'holds' if self.holds else 'falls short'}"

    @property
    def details(self) -> str:
        """What stands behind the line: sides, memory, sizes."""
        sizes = ", ".join(f"{name} {size:,}" for name, size in self.sizes.items()) or "one"
        return (
            f"  product: {self.bar.product}, at most {_peak(p.product for p in self.pairs):.0f} MiB; reference: "
            f"{self.bar.reference}, at most {_peak(p.reference for p in self.pairs):.0f} MiB; sizes: {sizes}; "
            f"{len(self.pairs)} pairs"
        )

    @property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that it was run at."""
        return (self.bar.quick_sizes or self.bar.sizes) if self.is_quick else self.bar.sizes


def judged(bar: Bar, pairs: Sequence[Pair], is_quick: bool) -> Result:
    """Holds the pairs of a bar against its limits."""
    figures: list[Figure] = []
    for limit in bar.limits:
        values = [limit.of(pair.product, pair.reference) for pair in pairs]
        figures.append(Figure(limit, statistics.median(values), min(values), max(values)))
    return Result(bar, is_quick, pairs, figures)


def append(record: Path, result: Result, now: datetime) -> None:
    """Adds a result to the record, which is replaced as a whole or not at all.

    Args:
        record: The JSON file; made when absent.
        result: What to add.
        now: When (aware).

    Raises:
        BarError: The file holds something else; it is left as it is.
    """
    try:
        entries = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
    except ValueError as err:
        raise BarError(f"{record.name} is not JSON, so nothing was added to it. Mend it, or move it away.") from err
    if not isinstance(entries, list):
        raise BarError(f"{record.name} holds no list of results, so nothing was added to it. Move it away.")
    scratch = record.with_name(f".{record.name}.{os.getpid()}")
    scratch.write_text(json.dumps([*entries, _entry(result, now)], indent=1) + "\n", encoding="utf-8")
    scratch.replace(record)


def _entry(result: Result, now: datetime) -> dict[str, Any]:
    return {
        "bar": result.bar.name,
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "is_quick": result.is_quick,
        "holds": result.holds,
        "figures": [
            {
                "figure": f.limit.figure,
                "unit": f.limit.unit.strip(),
                "median": round(f.median, 4),
                "lowest": round(f.lowest, 4),
                "highest": round(f.highest, 4),
                "limit": f.limit.at_most,
                "holds": f.holds,
            }
            for f in result.figures
        ],
        "sizes": dict(result.sizes),
        "product": result.bar.product,
        "reference": result.bar.reference,
        "peak_mib": {
            "product": _peak(p.product for p in result.pairs),
            "reference": _peak(p.reference for p in result.pairs),
        },
        "pairs": [
            {
                "first": "product" if pair.is_product_first else "reference",
                "product": _side(pair.product),
                "reference": _side(pair.reference),
            }
            for pair in result.pairs
        ],
        "python": platform.python_version(),
        "dagster": importlib.metadata.version("dagster"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _side(outcome: Outcome) -> dict[str, Any]:
    counts = {name: round(count, 3) for name, count in outcome.counts.items()}
    return {
        "seconds": round(outcome.seconds, 3),
        "peak_mib": outcome.peak_mib,
        **({"counts": counts} if counts else {}),
    }


def _peak(outcomes: Any) -> float:
    return max(outcome.peak_mib for outcome in outcomes)
