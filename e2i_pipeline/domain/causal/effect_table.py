"""The table that an effect is judged by: per row of the evaluation fold its effect, its residuals and its score.

It is all that the evaluation reads, so that an effect can be judged again without fitting anything.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.contracts.causal import TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EffectData
from e2i_pipeline.domain.causal.estimators import Effects
from e2i_pipeline.domain.causal.nuisance import Nuisance
from e2i_pipeline.domain.causal.scores import binary_scores, continuous_scores

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def effect_table(
    data: EffectData,
    effects: Effects,
    nuisance: Nuisance,
    is_supported: "np.ndarray",
    protocol: TargetTrialProtocol,
) -> "pd.DataFrame":
    """The evaluation fold as a table.

    Args:
        data: Rows of the evaluation fold.
        effects: Their predicted effects.
        nuisance: What models of the fit fold expect of them.
        is_supported: Whether each (rows,) lies within what the effect was fitted on, and within the overlap.
        protocol: The protocol.

    Returns:
        `patient_journey_id`; `effect` with `effect_low`, `effect_high` (95 %) and `is_supported`: no effect of a single
        row is to be read without them; `treatment`, `outcome`; `outcome_residual`, `treatment_residual`, `score`;
        `group`; and the modifiers' features in their raw form.
    """
    import pandas as pd

    outcome_residual, treatment_residual = data.outcome - nuisance.outcome, data.treatment - nuisance.treatment
    if nuisance.untreated is not None and nuisance.treated is not None:
        score = binary_scores(data.outcome, data.treatment, nuisance.untreated, nuisance.treated, nuisance.treatment)
    else:
        score = continuous_scores(outcome_residual, treatment_residual, effects.value, nuisance.variance)
    columns = {
        "patient_journey_id": data.frame["patient_journey_id"].to_numpy(),
        "effect": effects.value,
        "effect_low": effects.low,
        "effect_high": effects.high,
        "is_supported": is_supported,
        "treatment": data.treatment,
        "outcome": data.outcome,
        "outcome_residual": outcome_residual,
        "treatment_residual": treatment_residual,
        "score": score,
        "group": data.groups,
    }
    return pd.DataFrame(columns | {name: data.frame[name].to_numpy() for name in protocol.modifiers})
