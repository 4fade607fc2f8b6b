"""The target trial: who, since when, treated how, adjusted for what, with which outcome. Fixed before anything is fit.

Hernan and Robins (2016), Using Big Data to Emulate a Target Trial. What is wrong with it is said before a model hides
it.
"""

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.causal import Segment, TargetTrialProtocol
from e2i_pipeline.contracts.references import FeatureSpec, TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.errors import ConfigurationError

ENGAGEMENT_TABLE = "engagement_events"
TELLS_OF_ENGAGEMENT = frozenset({"engagement_score"})
"""Features of other tables that tell of engagement: adjusting for a treatment's own traces takes its effect away."""

BINARY, CONTINUOUS = "binary", "continuous"


def target_trial(
    dataset: TrainingDatasetRef,
    scope: ExperimentScope,
    *,
    treatment: str,
    treatment_kind: str,
    is_randomized: bool,
    confounders: Sequence[str],
    modifiers: Sequence[str],
    cuts: Mapping[str, Sequence[float]],
    negative_controls: Sequence[str],
    folds: Mapping[str, float],
    split_by: str,
    cost: float,
    seed: int,
) -> TargetTrialProtocol:
    """The protocol of a brand.

    Args:
        dataset: The modelling rows.
        scope: What is predicted of them: outcome, window and capacity.
        treatment: Feature that is the treatment.
        treatment_kind: `binary` or `continuous`.
        is_randomized: Whether it was assigned by chance.
        confounders: Features to adjust for; empty for all that do not tell of engagement.
        modifiers: Features with which the effect may differ.
        cuts: Cut points of numeric modifiers.
        negative_controls: Outcomes that the treatment cannot change.
        folds: Share per fold.
        split_by: `patient_and_hcp` or `patient`.
        cost: Of a treatment, on the outcome's scale.
        seed: Of everything random.

    Raises:
        ConfigurationError: A feature is not among those of the modelling rows, or two settings exclude each other.
    """
    known = {f.name: f for f in dataset.features}
    _require(known, [treatment], "causal.treatment")
    _require(known, confounders, "causal.confounders")
    _require(known, modifiers, "causal.modifiers")
    if treatment in {*confounders, *modifiers}:
        raise ConfigurationError(f"causal.treatment {treatment} is a confounder or a modifier too: take it out there")
    if scope.target in negative_controls:
        raise ConfigurationError(f"causal.negative_controls names the outcome itself, {scope.target}")
    left_out = _left_out(dataset.features, treatment, confounders)
    if lost := sorted(set(modifiers) & set(left_out)):
        raise ConfigurationError(
            f"causal.modifiers: {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} not adjusted for "
            f"({left_out[lost[0]]}). A modifier must be a confounder too."
        )
    binary_outcome = scope.problem_type == "classification"
    what = "risk" if binary_outcome else "outcome"
    fields: dict[str, Any] = {
        "brand": dataset.brand,
        "dataset_version": dataset.version,
        "eligibility": (scope.population, "The outcome window has passed, and the treatment is known."),
        "time_zero": "The index date of the journey; what was known then is adjusted for.",
        "treatment": treatment,
        "treatment_kind": treatment_kind,
        "treatment_definition": known[treatment].description or f"The column {treatment} as known at time zero.",
        "confounders": tuple(f for f in dataset.features if f.name not in left_out),
        "left_out": left_out,
        "modifiers": tuple(modifiers),
        "segments": _segments(known, modifiers, cuts),
        "outcome": scope.target,
        "outcome_kind": BINARY if binary_outcome else CONTINUOUS,
        "window_days": scope.prediction_horizon_days,
        "estimand": _estimand(treatment_kind, what),
        "is_randomized": is_randomized,
        "negative_controls": tuple(negative_controls),
        "folds": dict(folds),
        "split_by": split_by,
        "capacity": scope.capacity,
        "cost": cost,
        "seed": seed,
    }
    return TargetTrialProtocol(key=content_key(fields, scope.key), **fields)


def _estimand(treatment_kind: str, what: str) -> str:
    if treatment_kind == BINARY:
        return f"The average effect: the mean {what} if all were treated, less the mean {what} if none were."
    return (
        f"The average derivative: by how much a further point of the treatment changes the mean {what}. A partially "
        "linear model weighs it by the variance of the treatment given the confounders."
    )


def _left_out(features: Sequence[FeatureSpec], treatment: str, confounders: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for feature in features:
        if feature.name == treatment:
            found[feature.name] = "it is the treatment"
        elif confounders and feature.name not in confounders:
            found[feature.name] = "causal.confounders does not name it"
        elif not confounders and (feature.source == ENGAGEMENT_TABLE or feature.name in TELLS_OF_ENGAGEMENT):
            found[feature.name] = "it tells of engagement, of which the treatment is a part"
    if len(found) == len(features):
        raise ConfigurationError("nothing is left to adjust for: name causal.confounders, or add covariates")
    return found


def _segments(
    known: Mapping[str, FeatureSpec], modifiers: Sequence[str], cuts: Mapping[str, Sequence[float]]
) -> tuple[Segment, ...]:
    found: list[Segment] = []
    for name, points in cuts.items():
        if name not in modifiers or known[name].kind != "numeric":
            raise ConfigurationError(f"causal.cuts.{name}: only a numeric feature of causal.modifiers can be cut")
        if not points or list(points) != sorted(set(points)):
            raise ConfigurationError(f"causal.cuts.{name}: cut points must rise, and there must be one")
        edges = [None, *points, None]
        for low, high in pairwise(edges):
            found.append(Segment(name=_segment_name(name, low, high), feature=name, low=low, high=high))
    return tuple(found)


def _segment_name(feature: str, low: float | None, high: float | None) -> str:
    if low is None:
        return f"{feature} below {high:g}"
    return f"{feature} from {low:g}" if high is None else f"{feature} from {low:g} to {high:g}"


def _require(known: Mapping[str, FeatureSpec], names: Sequence[str], key: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigurationError(
                f"{key}: the modelling rows have no feature {name}.{meant} Add it to features.covariates, or name one "
                f"of: {', '.join(sorted(known))}."
            )
