"""What a bar is: two sides that give the same answer, sizes, and limits on figures of a pair.

A bar is a module in `benchmarks/` with a constant `BAR`, named as its module. How it is run stands in `pairs.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class BarError(Exception):
    """A bar that gave no result; the message says what to do."""


class DifferentAnswers(BarError):
    """Product and reference did not give the same answer, so that their times cannot be compared."""


class Outcome(NamedTuple):
    """What one side of a pair gave.

    Attributes:
        seconds: The time that counts.
        peak_mib: Highest resident memory among its processes, MiB.
        answer: JSON value; that of the other side must equal it.
        counts: Further figures that a limit may use, e.g. the number of assets.
    """

    seconds: float
    peak_mib: float
    answer: Any
    counts: Mapping[str, float] = {}


class Room(NamedTuple):
    """Where a side does its work.

    Attributes:
        folder: An empty folder of its own, removed after it.
        shared: The bar's folder, which lasts for all of its pairs.
        sizes: The sizes to run at.
    """

    folder: Path
    shared: Path
    sizes: Mapping[str, int]


Side = Callable[[Room], Outcome]


@dataclass(frozen=True)
class Limit:
    """The most that a figure may be.

    Attributes:
        figure: What it is, in words, e.g. `ratio`.
        unit: Its unit; empty for a plain number.
        at_most: The limit; the median over the pairs is held against it.
        of: The figure of a pair, from the outcomes of product and reference.
    """

    figure: str
    unit: str
    at_most: float
    of: Callable[[Outcome, Outcome], float]


def ratio(at_most: float) -> Limit:
    """A limit on the product's seconds over the reference's."""
    return Limit("ratio", "", at_most, lambda product, reference: product.seconds / reference.seconds)


def beyond(at_most: float) -> Limit:
    """A limit on the seconds that the product takes beyond the reference."""
    return Limit("beyond", " s", at_most, lambda product, reference: product.seconds - reference.seconds)


def beyond_per(count: str, at_most: float) -> Limit:
    """A limit on the seconds beyond the reference for each of what the product counted as `count`."""
    return Limit(
        f"beyond per {count}",
        " s",
        at_most,
        lambda product, reference: (product.seconds - reference.seconds) / product.counts[count],
    )


def peak(at_most: float) -> Limit:
    """A limit on the product's highest resident memory, MiB; the reference's does not count."""
    return Limit("peak memory", " MiB", at_most, lambda product, _: product.peak_mib)


def peak_ratio(at_most: float) -> Limit:
    """A limit on the product's highest resident memory over the reference's."""
    return Limit("peak memory ratio", "", at_most, lambda product, reference: product.peak_mib / reference.peak_mib)


def seconds(at_most: float) -> Limit:
    """A limit on the product's seconds; the reference's do not count."""
    return Limit("seconds", " s", at_most, lambda product, _: product.seconds)


def growth(smaller: str, at_most: float) -> Limit:
    """A limit on how many times as long the product takes at full size than at a smaller one, over the reference's.

    Both sides count the seconds that they took at the smaller size as `smaller`.
    """
    return Limit(
        "growth",
        "",
        at_most,
        lambda product, reference: (
            (product.seconds / product.counts[smaller]) / (reference.seconds / reference.counts[smaller])
        ),
    )


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: Name of its module.
        limits: All must hold.
        product: What the product's side is, in words.
        reference: What the reference is, in words.
        run_product: Runs the product once.
        run_reference: Runs the reference once.
        sizes: What it runs at.
        quick_sizes: What it runs at in a few minutes; by default the same.
        pairs: How many pairs.
        quick_pairs: How many of them when it is to be quick.
        prepare: Makes the shared folder, and warms what should be warm, before the first pair.
    """

    name: str
    limits: tuple[Limit, ...]
    product: str
    reference: str
    run_product: Side
    run_reference: Side
    sizes: Mapping[str, int] = field(default_factory=dict)
    quick_sizes: Mapping[str, int] = field(default_factory=dict)
    pairs: int = 5
    quick_pairs: int = 3
    prepare: Callable[[Room], None] | None = None
