"""The segments of a protocol, as masks over rows that carry the modifiers in their raw form."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.causal import TargetTrialProtocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def segment_masks(frame: "pd.DataFrame", protocol: TargetTrialProtocol) -> "Iterator[tuple[str, np.ndarray]]":
    """Each segment's name, and which rows (rows,) are in it; a row without the modifier is in none.

    Args:
        frame: Rows with the modifiers' columns.
        protocol: The protocol.
    """
    import numpy as np

    for segment in protocol.segments:
        values = frame[segment.feature].to_numpy(dtype=np.float64, na_value=np.nan)
        is_in = ~np.isnan(values)
        if segment.low is not None:
            is_in &= values >= segment.low
        if segment.high is not None:
            is_in &= values < segment.high
        yield segment.name, is_in
    kinds = {f.name: f.kind for f in protocol.confounders}
    for name in protocol.modifiers:
        if kinds[name] == "categorical":
            for value in sorted(frame[name].dropna().unique()):
                yield f"{name} {value}", (frame[name] == value).to_numpy(dtype=bool)
