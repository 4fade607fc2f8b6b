"""The rows of an effect analysis as arrays: outcome, treatment, what is adjusted for, folds and groups."""

# pandas' types lose themselves in masks.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.causal import TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.causal.folds import assign_folds, connected_groups
from e2i_pipeline.errors import CohortTooSmall, SourceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FIT, VALIDATION, EVALUATION = "fit", "validation", "evaluation"

MINIMUM_ROWS = 200
"""Rows of the fit fold below which nothing is fitted: cross-fitted nuisance models would learn from a hundred."""


class EffectData(NamedTuple):
    """Rows in the order of the frame that they came from.

    Attributes:
        frame: The raw rows.
        outcome: (rows,).
        treatment: (rows,).
        confounders: (rows, columns) of float64, nothing missing.
        columns: Pairs (column, feature that it comes from).
        modifiers: (rows, modifier columns) of float64; None where the effect is the same for everybody.
        modifier_names: One per modifier column.
        fold: (rows,), as text.
        groups: (rows,), whole numbers: patients, or patients and physicians, that belong together.
    """

    frame: "pd.DataFrame"
    outcome: "np.ndarray"
    treatment: "np.ndarray"
    confounders: "np.ndarray"
    columns: tuple[tuple[str, str], ...]
    modifiers: "np.ndarray | None"
    modifier_names: tuple[str, ...]
    fold: "np.ndarray"
    groups: "np.ndarray"

    def of(self, is_in: "np.ndarray") -> "EffectData":
        """Some of the rows.

        Args:
            is_in: (rows,), whether each row is wanted.
        """
        return self._replace(
            frame=self.frame[is_in].reset_index(drop=True),
            outcome=self.outcome[is_in],
            treatment=self.treatment[is_in],
            confounders=self.confounders[is_in],
            modifiers=None if self.modifiers is None else self.modifiers[is_in],
            fold=self.fold[is_in],
            groups=self.groups[is_in],
        )

    def in_fold(self, name: str) -> "EffectData":
        """The rows of one fold."""
        return self.of(self.fold == name)


def effect_data(frame: "pd.DataFrame", protocol: TargetTrialProtocol) -> EffectData:
    """Prepares the rows of a protocol.

    Rows without a treatment are left out: they are not eligible. The encoder of the confounders, and the values that
    stand for missing modifiers, are learned on the fit fold.

    Args:
        frame: `patient_id`, `hcp_id` where the source has it, `target`, the treatment, the confounders.
        protocol: The protocol.

    Raises:
        SourceError: A binary treatment is something else than 0 or 1, or does not vary.
        CohortTooSmall: Too few rows, or a fold cannot have its share.
    """
    import numpy as np

    from e2i_pipeline.domain.encoding import encode, encoded_columns, fit_encoder

    treatment = frame[protocol.treatment].to_numpy(dtype=np.float64, na_value=np.nan)
    eligible = ~np.isnan(treatment) & frame["target"].notna().to_numpy()
    frame, treatment = frame[eligible].reset_index(drop=True), treatment[eligible]
    _check(treatment, protocol)
    physician = frame["hcp_id"].to_numpy() if "hcp_id" in frame and protocol.split_by == "patient_and_hcp" else None
    groups = connected_groups(frame["patient_id"].to_numpy(), physician)
    fold = assign_folds(groups, protocol.folds, protocol.seed)
    is_fit = fold == FIT
    if is_fit.sum() < MINIMUM_ROWS:
        raise CohortTooSmall(
            f"the fit fold of {protocol.brand} has {int(is_fit.sum())} rows; an effect needs at least {MINIMUM_ROWS}"
        )
    encoder = fit_encoder(frame[is_fit], protocol.confounders, takes_nulls=False)
    modifiers, names = _modifiers(frame, [f for f in protocol.confounders if f.name in protocol.modifiers], is_fit)
    return EffectData(
        frame=frame,
        outcome=frame["target"].to_numpy(dtype=np.float64),
        treatment=treatment,
        confounders=encode(encoder, frame, protocol.confounders).astype(np.float64),
        columns=encoded_columns(encoder),
        modifiers=modifiers,
        modifier_names=names,
        fold=fold,
        groups=groups,
    )


def require_comparable(data: EffectData, protocol: TargetTrialProtocol) -> EffectData:
    """The rows that trimming left, refused where no fold can be learned from or judged by.

    Raises:
        CohortTooSmall: A fold has too few rows left, or one treatment only.
    """
    for name in (FIT, VALIDATION, EVALUATION):
        treatment = data.treatment[data.fold == name]
        wanted = MINIMUM_ROWS if name == FIT else MINIMUM_ROWS // 4
        if len(treatment) < wanted or treatment.min() == treatment.max():
            raise CohortTooSmall(
                f"trimming left {len(treatment)} rows of the {name} fold of {protocol.brand}, "
                f"{'at least ' + str(wanted) + ' are needed' if len(treatment) < wanted else 'all treated alike'}: "
                f"{protocol.treatment} is settled by what is adjusted for. Look at overlap; adjust for less, or widen "
                "causal.overlap."
            )
    return data


def _check(treatment: "np.ndarray", protocol: TargetTrialProtocol) -> None:
    odd = int(((treatment != 0) & (treatment != 1)).sum()) if protocol.treatment_kind == "binary" else 0
    if odd:
        raise SourceError(
            f"{protocol.treatment} is declared as a binary treatment and is neither 0 nor 1 in {odd} of "
            f"{len(treatment)} rows. Deliver it as 0 or 1, or set causal.treatment_kind to continuous."
        )
    if not len(treatment) or treatment.min() == treatment.max():
        raise SourceError(
            f"{protocol.treatment} does not vary over the {len(treatment)} eligible rows of {protocol.brand}: there is "
            "nobody to compare with."
        )


def _modifiers(
    frame: "pd.DataFrame", features: "list[FeatureSpec]", is_fit: "np.ndarray"
) -> "tuple[np.ndarray | None, tuple[str, ...]]":
    """Modifiers in their own units, so that an effect's coefficients can be read; categories as 0 and 1.

    A missing number stands for the median of the fit fold; the first category by name is what others are held against.
    """
    import numpy as np

    columns: list[np.ndarray] = []
    names: list[str] = []
    for feature in features:
        column = frame[feature.name]
        if feature.kind == "categorical":
            for value in sorted(column[is_fit].dropna().unique())[1:]:
                columns.append((column == value).to_numpy(dtype=np.float64))
                names.append(f"{feature.name}={value}")
        else:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            columns.append(np.where(np.isnan(values), np.nanmedian(values[is_fit]), values))
            names.append(feature.name)
    return (np.column_stack(columns) if columns else None), tuple(names)
