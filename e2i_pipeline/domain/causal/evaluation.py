"""What an effect is worth on rows that nothing was fitted on, and whether it may be used.

Everything is computed from the effect table alone. The rules are written down here, before anybody sees a figure.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.causal import CausalFinding, EffectFigure, TargetTrialProtocol
from e2i_pipeline.domain.causal.effect_calibration import EffectCalibration, best_linear_predictor, calibrate_effects
from e2i_pipeline.domain.causal.estimates import Estimate, average, partially_linear
from e2i_pipeline.domain.causal.policy import highest, policy_gain, uplift_at_capacity
from e2i_pipeline.domain.causal.ranking import Curve, rank_weighted_effect, targeting_curve
from e2i_pipeline.domain.causal.segments import segment_masks
from e2i_pipeline.domain.metrics import MINIMUM_CELL

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CURVE_POINTS = 40


class Evaluation(NamedTuple):
    """All figures of an evaluation.

    Attributes:
        average: The average effect.
        segments: The effect by segment.
        suppressed: Segments with fewer rows than the minimum cell.
        ranking: AUTOC and Qini.
        uplift: Among those whom a team of the protocol's capacity would choose.
        policies: Net gain per journey of the model's choice, against nobody, everybody and today's.
        calibration: Predicted against found effects.
        slope: Of found on predicted effects; None where one effect is predicted for everybody.
        curve: The targeting operator characteristic.
        findings: What was held against a rule.
    """

    average: EffectFigure
    segments: tuple[EffectFigure, ...]
    suppressed: int
    ranking: tuple[EffectFigure, ...]
    uplift: EffectFigure
    policies: tuple[EffectFigure, ...]
    calibration: EffectCalibration
    slope: EffectFigure | None
    curve: Curve
    findings: tuple[CausalFinding, ...]


def evaluate_effect(
    table: "pd.DataFrame", protocol: TargetTrialProtocol, fitted: EffectFigure, reference: "np.ndarray"
) -> Evaluation:
    """Judges an effect.

    Args:
        table: What `effect_table` made, of rows within the overlap.
        protocol: The protocol.
        fitted: The average effect on the fit fold.
        reference: Predicted effects of the fit fold (any number,), which cut the calibration's groups.
    """
    scores, effect = table["score"].to_numpy(), table["effect"].to_numpy()
    groups = _numbered(table["group"].to_numpy())
    overall = _effect_of(table, protocol, "average")
    segments, suppressed = _segments(table, protocol)
    slope = best_linear_predictor(scores, effect, groups)
    ranking = (
        _figure("AUTOC", rank_weighted_effect(scores, effect, "autoc", groups)),
        _figure("Qini", rank_weighted_effect(scores, effect, "qini", groups)),
    )
    return Evaluation(
        average=overall,
        segments=segments,
        suppressed=suppressed,
        ranking=ranking,
        uplift=_figure(
            f"the {protocol.capacity:.0%} with the highest predicted effects",
            uplift_at_capacity(scores, effect, protocol.capacity, groups),
        ),
        policies=_policies(table, protocol),
        calibration=calibrate_effects(scores, effect, reference, groups=groups),
        slope=None if slope is None else _figure("slope of found on predicted effects", slope),
        curve=targeting_curve(scores, effect, CURVE_POINTS, groups),
        findings=tuple(_findings(overall, fitted)),
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All figures as JSON values."""
    figures = {
        name: [f.model_dump() for f in getattr(evaluation, name)] for name in ("segments", "ranking", "policies")
    }
    return {
        "average": evaluation.average.model_dump(),
        **figures,
        "suppressed": evaluation.suppressed,
        "uplift": evaluation.uplift.model_dump(),
        "slope": evaluation.slope.model_dump() if evaluation.slope else None,
        "calibration": {
            "r_squared": None
            if evaluation.calibration.r_squared != evaluation.calibration.r_squared
            else evaluation.calibration.r_squared,
            "groups": [
                {
                    "share": g.share,
                    "predicted": g.predicted,
                    "found": g.found.value,
                    "low": g.found.low,
                    "high": g.found.high,
                }
                for g in evaluation.calibration.groups
            ],
        },
        "curve": {name: values.tolist() for name, values in evaluation.curve._asdict().items()},
        "findings": [f.model_dump() for f in evaluation.findings],
    }


def _effect_of(table: "pd.DataFrame", protocol: TargetTrialProtocol, name: str) -> EffectFigure:
    groups = _numbered(table["group"].to_numpy())
    if protocol.treatment_kind == "binary":
        return _figure(name, average(table["score"].to_numpy(), groups))
    residuals = table["outcome_residual"].to_numpy(), table["treatment_residual"].to_numpy()
    return _figure(name, partially_linear(*residuals, groups))


def _segments(table: "pd.DataFrame", protocol: TargetTrialProtocol) -> tuple[tuple[EffectFigure, ...], int]:
    found: list[EffectFigure] = []
    suppressed = 0
    for name, is_in in segment_masks(table, protocol):
        if is_in.sum() < MINIMUM_CELL:
            suppressed += 1
        else:
            found.append(_effect_of(table[is_in], protocol, name))
    return tuple(found), suppressed


def _policies(table: "pd.DataFrame", protocol: TargetTrialProtocol) -> tuple[EffectFigure, ...]:
    """The model's choice at capacity, net of cost. Today's choice: who is treated, or most treated, at capacity."""
    import numpy as np

    scores, groups = table["score"].to_numpy(), _numbered(table["group"].to_numpy())
    ours = highest(table["effect"].to_numpy(), protocol.capacity).astype(float)
    treatment = table["treatment"].to_numpy()
    is_binary = protocol.treatment_kind == "binary"
    today = treatment if is_binary else highest(treatment, protocol.capacity).astype(float)
    against: dict[str, np.ndarray | None] = {
        "treating nobody": None,
        "treating everybody": np.ones(len(scores)),
        "today's choice": today,
    }
    return tuple(
        _figure(f"the model's choice against {name}", policy_gain(scores, ours, protocol.cost, other, groups))
        for name, other in against.items()
    )


def _findings(overall: EffectFigure, fitted: EffectFigure) -> Iterator[CausalFinding]:
    yield CausalFinding(
        name="effect_is_not_zero",
        rule="The interval of 95 % of the average effect, on rows that nothing was fitted on, does not contain 0.",
        observed=f"{overall.value:.4g} ({overall.low:.4g} to {overall.high:.4g}) over {overall.rows} rows",
        holds=overall.excludes_zero,
        blocks=True,
    )
    yield CausalFinding(
        name="folds_agree",
        rule="The average effects of the fit fold and of the evaluation fold lie on the same side of 0.",
        observed=f"{fitted.value:.4g} on the fit fold, {overall.value:.4g} on the evaluation fold",
        holds=fitted.value * overall.value > 0,
        blocks=True,
    )


def _figure(name: str, estimate: Estimate) -> EffectFigure:
    return EffectFigure(name=name, value=estimate.value, low=estimate.low, high=estimate.high, rows=estimate.rows)


def _numbered(groups: "np.ndarray") -> "np.ndarray":
    """Groups numbered from 0 without gaps, for sums by group."""
    import numpy as np

    return np.unique(groups, return_inverse=True)[1]
