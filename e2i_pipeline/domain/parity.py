"""Whether the online store says of an entity what the offline store says, at one time: values, and their absence.

It compares what a model would be given of either, so that a value that has outlived its TTL offline must be absent
online too. How the rows are chosen and read stands in `resources/stages/parity.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import FeatureSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class FeatureParity(Contract):
    """One feature online beside offline.

    Attributes:
        feature: Name of the feature.
        view: Its view.
        rows: Rows compared: those that name an entity of the view, and were not pushed live since.
        pushed: Rows left out because they were.
        present: Rows with a value offline.
        differing: Rows with a value on both sides, and not the same.
        only_online: Rows with a value online alone, as one that has expired offline.
        only_offline: Rows with a value offline alone.
    """

    feature: str
    view: str
    rows: int
    pushed: int
    present: int
    differing: int
    only_online: int
    only_offline: int

    @property
    def mismatches(self) -> int:
        """Rows in which the two stores do not say the same."""
        return self.differing + self.only_online + self.only_offline


def compare(
    offline: "pd.DataFrame",
    online: "pd.DataFrame",
    features: Sequence[FeatureSpec],
    entities: Mapping[str, str],
    ahead: Mapping[str, "np.ndarray"],
) -> tuple[FeatureParity, ...]:
    """Compares the same rows of both stores, cell by cell and without any tolerance.

    Args:
        offline: The rows with join keys and features, as the offline store gives them.
        online: The same rows, in the same order, from the online store.
        features: The features to compare.
        entities: Join key of each view.
        ahead: Per view, which rows hold a later event online (a boolean each): live touches, which are no mismatch.

    Returns:
        One result per feature, in order.
    """
    found: list[FeatureParity] = []
    for feature in features:
        named = offline[entities[feature.view]].notna().to_numpy()
        asked: np.ndarray = named & ~ahead[feature.view]
        there, here = offline[feature.name][asked], online[feature.name][asked]
        is_there, is_here = there.notna().to_numpy(), here.notna().to_numpy()
        is_both: np.ndarray = is_there & is_here
        found.append(
            FeatureParity(
                feature=feature.name,
                view=feature.view,
                rows=int(asked.sum()),
                pushed=int((named & ahead[feature.view]).sum()),
                present=int(is_there.sum()),
                differing=int((there.to_numpy()[is_both] != here.to_numpy()[is_both]).sum()),
                only_online=int((is_here & ~is_there).sum()),
                only_offline=int((is_there & ~is_here).sum()),
            )
        )
    return tuple(found)


def problems(results: Sequence[FeatureParity], min_present: float) -> tuple[str, ...]:
    """Why what is served must not be trusted; empty where the stores agree on enough values.

    Args:
        results: What `compare` found.
        min_present: Smallest share (0..1) of a view's rows that must have a value of it: agreement on nothing but nulls
            says nothing.
    """
    told = [_difference(result) for result in results if result.mismatches]
    for view in dict.fromkeys(result.view for result in results):
        of_view = [result for result in results if result.view == view]
        most, rows = max(result.present for result in of_view), of_view[0].rows
        needed = max(1, math.ceil(min_present * rows))
        if most < needed:
            told.append(
                f"{view}: {most} of {rows} sampled entities have a value offline, and at least {needed} must, to tell "
                "anything. Look whether its rows have outlived their TTL, or came to be known after the run's as_of."
            )
    return tuple(told)


def _difference(result: FeatureParity) -> str:
    kinds = {
        "another value": result.differing,
        "a value online only": result.only_online,
        "a value offline only": result.only_offline,
    }
    listed = ", ".join(f"{count} with {kind}" for kind, count in kinds.items() if count)
    name = f"{result.view}:{result.feature}"
    return f"{name} differs online in {result.mismatches} of {result.rows} sampled entities: {listed}."
