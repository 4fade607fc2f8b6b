"""The overlap of a protocol's rows: who is trimmed by the declared rule, who that was, and what balance is left."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.causal import CausalFinding, TargetTrialProtocol
from e2i_pipeline.domain.causal.design import EffectData
from e2i_pipeline.domain.causal.nuisance import Nuisance
from e2i_pipeline.domain.causal.overlap import (
    BALANCED,
    Balance,
    binary_balance,
    binary_weights,
    continuous_balance,
    continuous_weights,
    crump_bounds,
    effective_sample_size,
)
from e2i_pipeline.domain.causal.segments import segment_masks
from e2i_pipeline.domain.metrics import MINIMUM_CELL

if TYPE_CHECKING:
    import numpy as np

WHOLE = "everybody"


class OverlapRules(NamedTuple):
    """When like can be compared with like; see the settings of the same names.

    Attributes:
        propensity: Bounds of a binary treatment's propensity.
        density: Bounds of a continuous treatment's stabilized weight.
        minimum_kept: Smallest share of the rows within the bounds.
        minimum_effective: Smallest effective share of those.
        maximum_imbalance: Largest imbalance after weighting; more than `BALANCED` warns already.
    """

    propensity: tuple[float, float]
    density: tuple[float, float]
    minimum_kept: float
    minimum_effective: float
    maximum_imbalance: float


class SliceOverlap(NamedTuple):
    """Overlap in a segment.

    Attributes:
        name: The segment.
        rows: Rows in it.
        kept: Share within the bounds, 0..1.
        effective: Effective share of those by their weights, 0..1.
        worst: The covariate that is balanced worst after weighting.
        imbalance: Its imbalance, absolute.
    """

    name: str
    rows: int
    kept: float
    effective: float
    worst: str
    imbalance: float


class Described(NamedTuple):
    """A covariate's mean among the rows that are kept and among those that are trimmed, in the encoder's units."""

    covariate: str
    kept: float
    trimmed: float


class OverlapReport(NamedTuple):
    """What was found.

    Attributes:
        is_kept: Whether each row lies within the bounds (rows,).
        weight: Weights (rows,), 0 for a trimmed row.
        balance: Of the kept rows, the worst first.
        slices: Everybody, then each segment of at least the minimum cell.
        described: Whom trimming took, the largest difference first; empty where fewer than the minimum cell went.
        optimal: Bounds that Crump's rule would take, of a binary treatment; None else.
        findings: What was held against a rule.
    """

    is_kept: "np.ndarray"
    weight: "np.ndarray"
    balance: tuple[Balance, ...]
    slices: tuple[SliceOverlap, ...]
    described: tuple[Described, ...]
    optimal: tuple[float, float] | None
    findings: tuple[CausalFinding, ...]


def assess_overlap(
    data: EffectData, nuisance: Nuisance, protocol: TargetTrialProtocol, rules: OverlapRules
) -> OverlapReport:
    """Assesses the overlap of all rows.

    Args:
        data: The rows.
        nuisance: What cross-fitted models expect of them.
        protocol: The protocol.
        rules: The rules.
    """
    import numpy as np

    is_binary = protocol.treatment_kind == "binary"
    if is_binary:
        measure, (low, high) = nuisance.treatment, rules.propensity
    else:
        measure = continuous_weights(data.treatment, nuisance.treatment, nuisance.variance)
        low, high = rules.density
    is_kept = (measure >= low) & (measure <= high)
    weight = np.zeros(len(measure))
    if is_binary and len(np.unique(data.treatment[is_kept])) == 2:
        weight[is_kept] = binary_weights(data.treatment[is_kept], measure[is_kept])
    elif not is_binary:
        weight[is_kept] = measure[is_kept]
    slices = tuple(_slices(data, is_kept, weight, protocol))
    balance = _balance(data.of(is_kept), weight[is_kept], protocol)
    return OverlapReport(
        is_kept=is_kept,
        weight=weight,
        balance=balance,
        slices=slices,
        described=_described(data, is_kept),
        optimal=crump_bounds(nuisance.treatment) if is_binary else None,
        findings=tuple(_findings(slices[0], protocol, rules)),
    )


def _slices(
    data: EffectData, is_kept: "np.ndarray", weight: "np.ndarray", protocol: TargetTrialProtocol
) -> Iterator[SliceOverlap]:
    import numpy as np

    everybody = (WHOLE, np.ones(len(is_kept), dtype=bool))
    for name, is_in in (everybody, *segment_masks(data.frame, protocol)):
        kept = is_in & is_kept
        if is_in.sum() < MINIMUM_CELL and name != WHOLE:
            continue
        weights = weight[kept]
        balance = _balance(data.of(kept), weights, protocol)
        yield SliceOverlap(
            name=name,
            rows=int(is_in.sum()),
            kept=float(kept.sum() / is_in.sum()),
            effective=effective_sample_size(weights) / kept.sum() if weights.any() else 0.0,
            worst=balance[0].covariate if balance else "",
            imbalance=abs(balance[0].after) if balance else 1.0,
        )


def _balance(data: EffectData, weight: "np.ndarray", protocol: TargetTrialProtocol) -> tuple[Balance, ...]:
    """Balance of the kept rows; empty where they have one kind of treatment only."""
    if not len(weight) or data.treatment.min() == data.treatment.max() or not weight.any():
        return ()
    names = [name for name, _ in data.columns]
    measure = binary_balance if protocol.treatment_kind == "binary" else continuous_balance
    return measure(data.confounders, names, data.treatment, weight)


def _described(data: EffectData, is_kept: "np.ndarray") -> tuple[Described, ...]:
    if (~is_kept).sum() < MINIMUM_CELL or not is_kept.any():
        return ()
    kept, trimmed = data.confounders[is_kept].mean(axis=0), data.confounders[~is_kept].mean(axis=0)
    found = (Described(name, float(k), float(t)) for (name, _), k, t in zip(data.columns, kept, trimmed, strict=True))
    return tuple(sorted(found, key=lambda one: (-abs(one.kept - one.trimmed), one.covariate)))


def _findings(everybody: SliceOverlap, protocol: TargetTrialProtocol, rules: OverlapRules) -> Sequence[CausalFinding]:
    bounds = rules.propensity if protocol.treatment_kind == "binary" else rules.density
    measure = "propensity" if protocol.treatment_kind == "binary" else "stabilized weight"
    return (
        CausalFinding(
            name="enough_overlap",
            rule=f"At least {rules.minimum_kept:.0%} of the rows have a {measure} from {bounds[0]:g} to {bounds[1]:g}.",
            observed=f"{everybody.kept:.1%} of {everybody.rows} rows",
            holds=everybody.kept >= rules.minimum_kept,
            blocks=True,
        ),
        CausalFinding(
            name="effective_sample_size",
            rule=f"The weighted rows are worth at least {rules.minimum_effective:.0%} of as many equal ones.",
            observed=f"{everybody.effective:.1%}",
            holds=everybody.effective >= rules.minimum_effective,
            blocks=True,
        ),
        _balanced("balance", everybody, BALANCED, blocks=False),
        _balanced("no_gross_imbalance", everybody, rules.maximum_imbalance, blocks=True),
    )


def _balanced(name: str, everybody: SliceOverlap, limit: float, *, blocks: bool) -> CausalFinding:
    return CausalFinding(
        name=name,
        rule=f"After weighting no covariate differs with the treatment by more than {limit:g}.",
        observed=f"{everybody.imbalance:.3f}, of {everybody.worst or 'no covariate: one treatment only is left'}",
        holds=everybody.imbalance <= limit,
        blocks=blocks,
    )
