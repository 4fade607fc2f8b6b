"""Attempts to break an effect, each with its rule written down before: what should find nothing, and what should stay.

Placebo treatment, dummy outcome and negative controls have no effect by construction; a random common cause and a
subset must change nothing that matters; sensitivity says how strong a hidden cause would have to be. After Sharma and
Kiciman (2020), DoWhy, and Lipsitch, Tchetgen Tchetgen and Cohen (2010), Negative Controls.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.causal import CausalFinding, EffectFigure, TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EffectData
from e2i_pipeline.domain.causal.estimates import Estimate, partially_linear
from e2i_pipeline.domain.causal.nuisance import NuisanceSpec, residual
from e2i_pipeline.domain.causal.sensitivity import robustness, strength_of

if TYPE_CHECKING:
    import numpy as np

CHANCE = 0.01
"""A refuting draw finds an effect where there is none in one of twenty by chance; more of them than happens once in a
hundred times is more than chance."""


class Attack(NamedTuple):
    """How an effect is attacked.

    Attributes:
        draws: Draws of placebo and dummy.
        subset: Share of the groups in a subset.
    """

    draws: int
    subset: float


def refute(
    data: EffectData,
    average: EffectFigure,
    protocol: TargetTrialProtocol,
    spec: NuisanceSpec,
    attack: Attack,
    controls: "Mapping[str, np.ndarray]",
) -> Iterator[CausalFinding]:
    """Attacks an effect on the rows that it was fitted on.

    Args:
        data: Rows of the fit fold within the overlap.
        average: The average effect there.
        protocol: The protocol.
        spec: The nuisance models.
        attack: How.
        controls: Per negative control its values (rows,), NaN where unknown.
    """
    import numpy as np

    rng = np.random.default_rng(protocol.seed)
    refit = Refit(protocol, spec)
    outcome, treatment = refit.outcome(data), refit.treatment(data)
    shuffled = "its interval contains 0 in as many draws as chance allows"
    yield _by_chance(
        "placebo_treatment",
        f"A treatment dealt out anew by chance has no effect: {shuffled}.",
        [
            partially_linear(outcome, refit.treatment(data, rng.permutation(data.treatment)), data.groups)
            for _ in range(attack.draws)
        ],
    )
    yield _by_chance(
        "dummy_outcome",
        f"An outcome dealt out anew by chance is not affected: {shuffled}.",
        [
            partially_linear(refit.outcome(data, rng.permutation(data.outcome)), treatment, data.groups)
            for _ in range(attack.draws)
        ],
    )
    yield _random_cause(data, average, refit, rng)
    yield _subset(data, average, refit, attack.subset, rng)
    for name, values in controls.items():
        yield _negative_control(name, data, values, refit)
    yield _sensitivity(data, protocol, outcome, treatment)


class Refit(NamedTuple):
    """Refits the nuisance models on changed rows."""

    protocol: TargetTrialProtocol
    spec: NuisanceSpec

    def outcome(self, data: EffectData, values: "np.ndarray | None" = None, kind: str = "") -> "np.ndarray":
        """The outcome, or other values in its place, less what the confounders say (rows,)."""
        chosen = data.outcome if values is None else values
        return residual(data, chosen, self.spec, kind or self.protocol.outcome_kind)

    def treatment(self, data: EffectData, values: "np.ndarray | None" = None) -> "np.ndarray":
        """The treatment, or other values in its place, less what the confounders say (rows,)."""
        chosen = data.treatment if values is None else values
        if self.protocol.is_randomized:
            return chosen - chosen.mean()
        return residual(data, chosen, self.spec, self.protocol.treatment_kind)

    def effect(self, data: EffectData, kind: str = "") -> Estimate:
        """The average effect on changed rows."""
        return partially_linear(self.outcome(data, kind=kind), self.treatment(data), data.groups)


def most_by_chance(draws: int) -> int:
    """Most draws whose interval of 95 % may miss 0 before it is more than chance; see `CHANCE`."""
    probability, most = 0.0, -1
    while probability < 1 - CHANCE:
        most += 1
        probability += math.comb(draws, most) * 0.05**most * 0.95 ** (draws - most)
    return most


def _by_chance(name: str, rule: str, found: list[Estimate]) -> CausalFinding:
    hits, allowed = sum(one.excludes_zero for one in found), most_by_chance(len(found))
    largest = max(found, key=lambda one: abs(one.value))
    return CausalFinding(
        name=name,
        rule=f"{rule[:-1]} (at most {allowed} of {len(found)} may miss it).",
        observed=f"{hits} of {len(found)} miss it; the largest estimate is {largest.value:.4g}",
        holds=hits <= allowed,
        blocks=True,
    )


def _random_cause(data: EffectData, average: EffectFigure, refit: Refit, rng: "np.random.Generator") -> CausalFinding:
    import numpy as np

    cause = rng.normal(size=(len(data.outcome), 1))
    found = refit.effect(data._replace(confounders=np.hstack([data.confounders, cause])))
    return CausalFinding(
        name="random_common_cause",
        rule="A random covariate more moves the average effect by at most its standard error.",
        observed=f"{average.value:.4g} becomes {found.value:.4g}; the standard error is {found.standard_error:.4g}",
        holds=abs(found.value - average.value) <= found.standard_error,
        blocks=False,
    )


def _subset(
    data: EffectData, average: EffectFigure, refit: Refit, share: float, rng: "np.random.Generator"
) -> CausalFinding:
    import numpy as np

    groups = np.unique(data.groups)
    chosen = rng.choice(groups, size=max(1, round(share * len(groups))), replace=False)
    found = refit.effect(data.of(np.isin(data.groups, chosen)))
    return CausalFinding(
        name="data_subset",
        rule=f"{share:.0%} of the people, drawn by chance, have an average effect whose interval holds that of all.",
        observed=f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g}) against {average.value:.4g}",
        holds=found.low <= average.value <= found.high,
        blocks=False,
    )


def _negative_control(name: str, data: EffectData, values: "np.ndarray", refit: Refit) -> CausalFinding:
    import numpy as np

    is_known = ~np.isnan(values)
    known = data.of(is_known)._replace(outcome=values[is_known])
    kind = "binary" if np.isin(known.outcome, (0, 1)).all() else "continuous"
    found = refit.effect(known, kind)
    return CausalFinding(
        name=f"negative_control_{name}",
        rule=f"The treatment does not change {name}: the interval of its effect contains 0.",
        observed=f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g}) over {found.rows} rows",
        holds=not found.excludes_zero,
        blocks=True,
    )


def _sensitivity(
    data: EffectData, protocol: TargetTrialProtocol, outcome: "np.ndarray", treatment: "np.ndarray"
) -> CausalFinding:
    values = robustness(outcome, treatment)
    name, strength = strongest_confounder(data)
    rule = (
        "A hidden cause would have to be stronger than the strongest observed confounder, in what it explains of the "
        "treatment and of the outcome, for the interval to reach 0."
    )
    if protocol.is_randomized:
        rule, strength = "Treatment was assigned by chance: no hidden cause can drive it.", -1.0
    return CausalFinding(
        name="sensitivity",
        rule=rule,
        observed=(
            f"the robustness value is {values.of_interval:.3f} for the interval and {values.of_estimate:.3f} for the "
            f"estimate; {name}, the strongest observed confounder, has {max(strength, 0):.3f}"
        ),
        holds=values.of_interval > strength,
        blocks=False,
    )


def strongest_confounder(data: EffectData) -> tuple[str, float]:
    """The observed feature that confounds most, and the robustness value that a hidden cause like it would defeat.

    By linear models: what each feature explains of the treatment and of the outcome beside all others, joined to the
    share r with r / sqrt(1 - r) = sqrt(c_y * c_t / (1 - c_t)) (Cinelli and Hazlett, 2020).
    """
    import numpy as np

    design = np.column_stack([np.ones(len(data.outcome)), data.confounders])
    features = np.array(["", *(feature for _, feature in data.columns)])
    beside = np.column_stack([design, data.treatment])
    full = _explained(design, data.treatment), _explained(beside, data.outcome)
    strongest, most = "none", 0.0
    for name in sorted(set(features) - {""}):
        kept = features != name
        of_treatment = strength_of(full[0], _explained(design[:, kept], data.treatment))
        of_outcome = strength_of(full[1], _explained(np.column_stack([design[:, kept], data.treatment]), data.outcome))
        if of_treatment < 1:
            squared = of_outcome * of_treatment / (1 - of_treatment)
            share = (math.sqrt(squared**2 + 4 * squared) - squared) / 2
            if share > most:
                strongest, most = name, share
    return strongest, most


def _explained(design: "np.ndarray", values: "np.ndarray") -> float:
    """Share of the variance that a linear model explains."""
    import numpy as np

    residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(1 - residual.var() / values.var())
