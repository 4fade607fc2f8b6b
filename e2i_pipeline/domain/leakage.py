"""The leakage audit of a modelling dataset: what it knows that was not known at prediction time.

It looks at finished rows, and so finds what the rules upstream let through. What is done about a finding is the gate's
affair; how splits are made stands in `splits.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.splits import SPLITS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

OUTCOME_COLUMNS = (
    "treatment_initiated",
    "days_to_treatment",
    "journey_end_date",
    "journey_duration_days",
    "outcome_indicator",
    "next_treatment",
)
"""Canonical columns that are, or follow from, the outcome. A feature whose name contains one is refused."""

RESERVED_COLUMNS = ("target", "data_split", "is_mature")
"""Columns of the modelling dataset itself that can never be a feature."""

SEPARATION_LIMIT = 0.98
"""Univariate AUC on train above which one feature is taken to hold the outcome. A clinical feature that was known
before the outcome does not reach it; a renamed or recoded outcome does. In a regression, of the outcomes above their
median against the others: rescaling changes nothing of that."""

MINIMUM_SUPPORT = 20
"""Rows with and rows without the outcome that a feature's separation needs before it counts as one."""

MINIMUM_PER_CATEGORY = 10
"""Rows that a category needs before its rate counts: with fewer, any identifier separates the outcome by chance."""

_KNOWN_AT = "_known_at"

KINDS = ("patient_overlap", "temporal_order", "outcome_derived", "separates_outcome", "known_too_late")
"""What is looked for, by the names of the findings."""


class LeakageFinding(Contract):
    """One way in which the dataset knows too much.

    Attributes:
        name: Stable name of what was looked for, e.g. `patient_overlap`.
        subject: The feature, column or pair of splits concerned.
        count: Rows (patients, for `patient_overlap`) concerned.
        sentence: What was found and what to do, without any patient's value.
        severity: `critical` or `warning`.
    """

    name: str
    subject: str
    count: int
    sentence: str
    severity: str = Field(default="critical", pattern="^(critical|warning)$")


def audit(
    frame: "pd.DataFrame",
    features: Sequence[FeatureSpec],
    source_columns: Mapping[str, str] | None = None,
    outcome_columns: Sequence[str] = (),
) -> tuple[LeakageFinding, ...]:
    """Audits a modelling dataset.

    Args:
        frame: One row per journey: `patient_id`, `observation_date` (prediction time), `target`, `data_split`, the
            features, and optionally columns `<feature>_known_at`: the latest known-at time of what the feature saw.
            Rows that are `unassigned` are not looked at.
        features: The model's features.
        source_columns: Source column per feature, where it is known: a renamed outcome is found by it.
        outcome_columns: Further columns that are outcomes, e.g. the configured target.

    Returns:
        The findings; empty where nothing was found.
    """
    assigned = frame[frame["data_split"].isin(SPLITS)]
    return (
        *_patient_overlap(assigned),
        *_temporal_order(assigned),
        *_outcome_derived(features, source_columns or {}, outcome_columns, len(assigned)),
        *_separating(assigned[assigned["data_split"] == "train"], features),
        *_known_too_late(assigned),
    )


def counts(findings: Sequence[LeakageFinding], columns: Iterable[str]) -> dict[str, int | None]:
    """Rows concerned per kind of leak (patients, for `patient_overlap`), summed over the features.

    Args:
        findings: From `audit`.
        columns: Columns of the audited dataset.

    Returns:
        One number per kind; None for what could not be looked for, since no column says when a feature was known.
    """
    found: dict[str, int | None] = dict.fromkeys(KINDS, 0)
    for finding in findings:
        found[finding.name] = (found[finding.name] or 0) + finding.count
    if not any(column.endswith(_KNOWN_AT) for column in columns):
        found["known_too_late"] = None
    return found


def _cannot_tell(name: str, column: str, rows: int) -> LeakageFinding:
    """What cannot be looked for counts as found: nothing is learned from rows that nobody can clear."""
    sentence = (
        f"The {rows} rows have no column {column}, so nobody can tell whether they leak. Materialize training_dataset "
        "again: it is written with this column."
    )
    return LeakageFinding(name=name, subject=column, count=rows, sentence=sentence)


def _patient_overlap(frame: "pd.DataFrame") -> list[LeakageFinding]:
    if "patient_id" not in frame:
        return [_cannot_tell("patient_overlap", "patient_id", len(frame))]
    splits_of = frame.groupby("patient_id", observed=True)["data_split"].nunique()
    count = int((splits_of > 1).sum())
    if not count:
        return []
    sentence = (
        f"{count} of {len(splits_of)} patients have rows in more than one split, so the model is tested on patients it "
        "has learned. Publish the dataset again: domain/splits.py sets such patients aside."
    )
    return [LeakageFinding(name="patient_overlap", subject="patient_id", count=count, sentence=sentence)]


def _temporal_order(frame: "pd.DataFrame") -> list[LeakageFinding]:
    if "observation_date" not in frame:
        return [_cannot_tell("temporal_order", "observation_date", len(frame))]
    findings: list[LeakageFinding] = []
    span = frame.groupby("data_split", observed=True)["observation_date"].agg(["min", "max"])
    present = [split for split in SPLITS if split in span.index]
    for earlier, later in pairwise(present):
        begins = span.loc[later, "min"]
        late = (frame["data_split"] == earlier) & (frame["observation_date"] >= begins)
        if count := int(late.sum()):
            sentence = (
                f"{count} rows of {earlier} are predicted at or after the time at which {later} begins, so {earlier} "
                "knows the future. Raise splits.version to compute the cut dates anew, and set splits.adopt_incoming "
                "to false."
            )
            findings.append(
                LeakageFinding(name="temporal_order", subject=f"{earlier}, {later}", count=count, sentence=sentence)
            )
    return findings


def _outcome_derived(
    features: Sequence[FeatureSpec], source_columns: Mapping[str, str], outcomes: Sequence[str], rows: int
) -> list[LeakageFinding]:
    findings: list[LeakageFinding] = []
    for feature in features:
        names = (feature.name, source_columns.get(feature.name, feature.name))
        if any(_is_outcome(name, outcomes) for name in names):
            sentence = (
                f"The feature {feature.name} is the outcome, or follows from it, in all {rows} rows. Take it out of "
                "features.covariates."
            )
            findings.append(LeakageFinding(name="outcome_derived", subject=feature.name, count=rows, sentence=sentence))
    return findings


def _is_outcome(name: str, outcomes: Sequence[str]) -> bool:
    if name in (*RESERVED_COLUMNS, *outcomes):
        return True
    return any(column in name for column in OUTCOME_COLUMNS)


def _separating(train: "pd.DataFrame", features: Sequence[FeatureSpec]) -> list[LeakageFinding]:
    import numpy as np

    findings: list[LeakageFinding] = []
    target = train["target"].to_numpy(dtype=np.float64, na_value=np.nan)
    separated = "the outcome"
    if not np.isin(target[~np.isnan(target)], (0, 1)).all():  # of a regression
        separated = "outcomes above their median from the others"
        target = np.where(np.isnan(target), np.nan, target > np.nanmedian(target))
    for feature in features:
        if feature.name not in train.columns:
            continue
        column = train[feature.name]
        for what, auc, rows in (
            ("value", *_value_auc(column, target, feature.kind)),
            ("absence of a value", *_auc(np.asarray(column.isna(), dtype=np.float64), target)),
        ):
            if auc > SEPARATION_LIMIT:
                sentence = (
                    f"The {what} of {feature.name} alone separates {separated} on train with an AUC of {auc:.3f} "
                    f"over {rows} rows (limit {SEPARATION_LIMIT}): it very likely holds the outcome. Look where its "
                    "column comes from and when it is filled in, and take it out of features.covariates."
                )
                findings.append(
                    LeakageFinding(name="separates_outcome", subject=feature.name, count=rows, sentence=sentence)
                )
    return findings


def _value_auc(column: "pd.Series", target: "npt.NDArray[np.float64]", kind: str) -> tuple[float, int]:
    """AUC of a feature's values (a category's by its rate of outcomes), over the rows that have one."""
    import numpy as np
    import pandas as pd

    if kind != "categorical":
        return _auc(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan), target)
    by_category = pd.Series(target, index=column.index).groupby(column, observed=True)
    rate = by_category.transform("mean").where(by_category.transform("count") >= MINIMUM_PER_CATEGORY)
    return _auc(rate.to_numpy(dtype=np.float64, na_value=np.nan), target)


def _auc(score: "npt.NDArray[np.float64]", target: "npt.NDArray[np.float64]") -> tuple[float, int]:
    """Area under the ROC curve in the better of both directions, 0.5..1, and the rows it rests on.

    Mann and Whitney's U over the number of pairs, ties counted half. 0.5 where support is too small.
    """
    import numpy as np
    import pandas as pd

    given = ~(np.isnan(score) | np.isnan(target))
    score, target = score[given], target[given]
    positives = int(target.sum())
    negatives = len(target) - positives
    if min(positives, negatives) < MINIMUM_SUPPORT:
        return 0.5, len(target)
    ranks = pd.Series(score).rank().to_numpy()
    area = (ranks[target == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return float(max(area, 1 - area)), len(target)


def _known_too_late(frame: "pd.DataFrame") -> list[LeakageFinding]:
    findings: list[LeakageFinding] = []
    for column in (str(c) for c in frame.columns):
        if not column.endswith(_KNOWN_AT):
            continue
        count = int((frame[column] > frame["observation_date"]).sum())
        if count:
            feature = column.removesuffix(_KNOWN_AT)
            sentence = (
                f"In {count} of {len(frame)} rows {feature} rests on something that became known only after the "
                "prediction time. Join by known-at time, check source.known_at, or raise features.prediction_lag_days."
            )
            findings.append(LeakageFinding(name="known_too_late", subject=feature, count=count, sentence=sentence))
    return findings
