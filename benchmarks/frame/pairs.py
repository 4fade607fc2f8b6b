"""Runs a bar: product and reference in turn, several times, in folders that are gone afterwards."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.frame.bar import Bar, DifferentAnswers, Outcome, Room

Say = Callable[[str], None]


class Pair(NamedTuple):
    """One run of both sides, one right after the other.

    Attributes:
        product: What the product gave.
        reference: What the reference gave.
        is_product_first: Whether the product ran first: who runs second may find a warmer machine, so they take turns.
    """

    product: Outcome
    reference: Outcome
    is_product_first: bool


def run_pairs(bar: Bar, is_quick: bool, say: Say) -> list[Pair]:
    """Runs all pairs of a bar.

    Args:
        bar: The bar.
        is_quick: Whether to run the quick sizes.
        say: Told of each pair.

    Raises:
        DifferentAnswers: The sides of a pair differ, or a pair from the one before.
        BarError: A side failed.
    """
    sizes = (bar.quick_sizes or bar.sizes) if is_quick else bar.sizes
    wanted = bar.quick_pairs if is_quick else bar.pairs
    pairs: list[Pair] = []
    with tempfile.TemporaryDirectory(prefix=f"e2i-bench-{bar.name}-", ignore_cleanup_errors=True) as root:
        shared = Path(root) / "shared"
        shared.mkdir()
        if bar.prepare:
            say(f"{bar.name}: getting ready")
            bar.prepare(Room(shared, shared, sizes))
        for number in range(wanted):
            pair = _run_pair(bar, Path(root), shared, sizes, is_product_first=number % 2 == 0)
            figures = ", ".join(
                f"{lim.figure} {lim.of(pair.product, pair.reference):.3g}{lim.unit}" for lim in bar.limits
            )
            say(
                f"{bar.name}: pair {number + 1} of {wanted}: product {pair.product.seconds:.2f} s, reference "
                f"{pair.reference.seconds:.2f} s, {figures}"
            )
            _require_same(bar, pairs[-1].product if pairs else pair.product, pair)
            pairs.append(pair)
    return pairs


def _run_pair(bar: Bar, root: Path, shared: Path, sizes: Mapping[str, int], *, is_product_first: bool) -> Pair:
    sides = {"product": bar.run_product, "reference": bar.run_reference}
    outcomes: dict[str, Outcome] = {}
    for name in sorted(sides, reverse=not is_product_first):
        folder = root / name
        folder.mkdir()
        outcomes[name] = sides[name](Room(folder, shared, sizes))
        shutil.rmtree(folder, ignore_errors=True)
    return Pair(outcomes["product"], outcomes["reference"], is_product_first)


def _require_same(bar: Bar, before: Outcome, pair: Pair) -> None:
    for what, one, other in (
        ("product and reference", pair.product.answer, pair.reference.answer),
        ("two runs of the product", before.answer, pair.product.answer),
    ):
        if one != other:
            raise DifferentAnswers(
                f"{bar.name}: {what} gave different answers, so their times say nothing.\n  {_difference(one, other)}"
            )


def _difference(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        return "\n  ".join(f"{key}: {one.get(key)!r} and {other.get(key)!r}" for key in keys)
    return f"{one!r} and {other!r}"
