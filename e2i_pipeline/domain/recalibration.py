"""Probabilities that mean what they say: a rising function fitted on validation, where cross-validation says it helps.

Platt scaling on the log-odds (Platt, 1999; the line of Cox, 1958) corrects a wrong spread and level with two numbers;
isotonic regression (Zadrozny and Elkan, 2002) any rising shape, with more. Both are strictly rising here: isotonic
blocks are joined by lines between their centres (centred isotonic regression, Oron and Flournoy, 2017), so that two
different scores stay different and the ranking is kept.

The rule, on the validation split alone: a method is taken when, out of fold, it lowers the log loss by at least the
declared margin and by more than one standard error of the paired difference (the one-standard-error rule of Breiman et
al., 1984, against correcting noise), does not raise the expected calibration error, and costs no more AUC than
declared. The rows of one patient are in one fold. Isotonic is taken before Platt only where it saves the margin once
more. The method is then fitted on all of validation.
"""

# scikit-learn ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import math
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.evaluation import Recalibrated
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.model_files import Recalibrator
from e2i_pipeline.domain.calibration import expected_calibration_error, log_odds, recalibrate
from e2i_pipeline.domain.metrics import auc, checked
from e2i_pipeline.domain.selection import patient_folds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

NONE, PLATT, ISOTONIC = "none", "platt", "isotonic"

FEWEST_PER_CLASS = 50
"""Validation rows of each class below which nothing is corrected: two numbers from fewer say more about chance."""

_EPSILON = 1e-15


class Choice(NamedTuple):
    """The recalibrator, None where none helps, and what was decided in words and figures."""

    recalibrator: Recalibrator | None
    found: Recalibrated


def choose(
    y: "ArrayLike", p: "ArrayLike", rules: RecalibrationRules, seed: int, patients: "ArrayLike | None" = None
) -> Choice:
    """Decides whether to recalibrate, and how, from validation rows.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: The model's own probabilities (rows,), 0..1.
        rules: What is allowed, and the margins.
        seed: Seed of the folds, >= 0; the same rows in order and seed give the same choice.
        patients: Patient of each row (rows,), whose rows are in one fold; by default each row is one.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    import numpy as np

    outcome, score = checked(y, p)
    rows, few = len(outcome), int(min(outcome.sum(), len(outcome) - outcome.sum()))
    wanted = () if rules.method == NONE else (PLATT, ISOTONIC) if rules.method == "auto" else (rules.method,)
    if not wanted:
        return Choice(None, Recalibrated(rows=rows, reason="Recalibration is switched off."))
    if few < FEWEST_PER_CLASS:
        reason = (
            f"The smaller class has {few} validation rows; with fewer than {FEWEST_PER_CLASS} nothing is recalibrated."
        )
        return Choice(None, Recalibrated(rows=rows, reason=reason))
    fold = patient_folds(np.arange(rows) if patients is None else patients, outcome, rules.folds, seed)
    if fold.max() < 1:
        reason = "Too few validation patients have an outcome, or have none, to try a recalibration out of fold."
        return Choice(None, Recalibrated(rows=rows, reason=reason))
    held_out = {NONE: score, **_out_of_fold(outcome, score, wanted, fold)}
    losses = {method: _losses(outcome, given) for method, given in held_out.items()}
    figures = Recalibrated(
        rows=rows,
        log_loss={method: float(loss.mean()) for method, loss in losses.items()},
        ece={method: expected_calibration_error(outcome, given) for method, given in held_out.items()},
        auc=_aucs(outcome, held_out, fold),
    )
    method = _best(figures, losses, wanted, rules)
    chosen = fit(outcome, score, method) if method != NONE else None
    taken = method if chosen else NONE
    return Choice(chosen, figures.model_copy(update={"method": taken, "reason": _reason(figures, taken, rules)}))


def fit(y: "ArrayLike", p: "ArrayLike", method: str) -> Recalibrator | None:
    """Fits a recalibrator.

    Args:
        y: Outcomes (rows,), 0 or 1.
        p: The model's own probabilities (rows,), 0..1.
        method: `platt` or `isotonic`.

    Returns:
        None where it is not determined, or would turn the ranking round.

    Raises:
        ValueError: As for `metrics.evaluate`.
    """
    outcome, score = checked(y, p)
    if method == ISOTONIC:
        return _isotonic(outcome, score)
    line = recalibrate(outcome, score)
    if not math.isfinite(line.slope) or line.slope <= 0:
        return None
    return Recalibrator(method="platt", slope=line.slope, intercept=line.intercept)


def apply(recalibrator: Recalibrator, p: "np.ndarray") -> "np.ndarray":
    """Recalibrated probabilities (rows,) of a model's own (rows,), 0..1."""
    import numpy as np

    if recalibrator.method == ISOTONIC:
        return np.interp(p, recalibrator.inputs, recalibrator.outputs)
    return 1 / (1 + np.exp(-(recalibrator.intercept + recalibrator.slope * log_odds(p))))


def _isotonic(outcome: "np.ndarray", score: "np.ndarray") -> Recalibrator | None:
    """Knots at the centres of the blocks, from (0, 0) to (1, 1); none is at 0 or 1: few rows prove no certainty."""
    import numpy as np
    from sklearn.isotonic import isotonic_regression

    values, member, rows = np.unique(score, return_inverse=True, return_counts=True)
    shares = np.bincount(member, outcome) / rows
    fitted = np.asarray(isotonic_regression(shares, sample_weight=rows.astype(float)), dtype=np.float64)
    block = np.cumsum(np.append(0, np.diff(fitted) > 0))
    weight = np.bincount(block, rows)
    inputs = np.bincount(block, values * rows) / weight
    edge = 0.5 / (len(score) + 1)
    outputs = np.clip(np.bincount(block, shares * rows) / weight, edge, 1 - edge)
    inputs, outputs = np.concatenate([[0.0], inputs, [1.0]]), np.concatenate([[0.0], outputs, [1.0]])
    is_rising = np.append(True, (np.diff(inputs) > 0) & (np.diff(outputs) > 0))
    is_rising[-1] = True
    if is_rising.sum() > 2 and inputs[is_rising][-2] >= 1:  # a centre at 1 gives way to the corner
        is_rising[np.flatnonzero(is_rising)[-2]] = False
    if len(weight) < 2:
        return None
    return Recalibrator(
        method="isotonic", inputs=tuple(inputs[is_rising].tolist()), outputs=tuple(outputs[is_rising].tolist())
    )


def _out_of_fold(
    outcome: "np.ndarray", score: "np.ndarray", methods: tuple[str, ...], fold: "np.ndarray"
) -> "dict[str, np.ndarray]":
    """Recalibrated probabilities (rows,) per method, each row by a fit that has not seen its fold (rows,)."""
    found = {method: score.copy() for method in methods}
    for each in range(fold.max() + 1):
        held_out = fold == each
        for method, given in found.items():
            fitted = fit(outcome[~held_out], score[~held_out], method)
            if fitted:
                given[held_out] = apply(fitted, score[held_out])
    return found


def _aucs(outcome: "np.ndarray", held_out: "dict[str, np.ndarray]", fold: "np.ndarray") -> dict[str, float]:
    """AUC per method; within a fold a rising line ranks as the scores themselves do."""
    found = {m: _auc_by_fold(outcome, p, fold) for m, p in held_out.items() if m != PLATT}
    return {method: found.get(method, found[NONE]) for method in held_out}


def _auc_by_fold(outcome: "np.ndarray", score: "np.ndarray", fold: "np.ndarray") -> float:
    """Mean AUC over the folds: across folds, scores of different fits are not to be ranked against each other."""
    import numpy as np

    return float(np.mean([auc(outcome[fold == each], score[fold == each]) for each in range(fold.max() + 1)]))


def _losses(outcome: "np.ndarray", score: "np.ndarray") -> "np.ndarray":
    import numpy as np

    clipped = np.clip(score, _EPSILON, 1 - _EPSILON)
    return -np.log(np.where(outcome == 1, clipped, 1 - clipped))


def _best(
    figures: Recalibrated, losses: "dict[str, np.ndarray]", methods: tuple[str, ...], rules: RecalibrationRules
) -> str:
    best = NONE
    for method in methods:  # the simpler one first
        saved = losses[best] - losses[method]
        error = float(saved.std(ddof=1)) / math.sqrt(len(saved))
        helps = float(saved.mean()) >= rules.margin and float(saved.mean()) > error
        keeps = figures.auc[method] >= figures.auc[NONE] - rules.maximum_auc_loss
        if helps and keeps and figures.ece[method] <= figures.ece[NONE]:
            best = method
    return best


def _reason(figures: Recalibrated, method: str, rules: RecalibrationRules) -> str:
    before = figures.log_loss[NONE]
    if method == NONE:
        tried = ", ".join(f"{name} {loss:.4f}" for name, loss in figures.log_loss.items() if name != NONE)
        return (
            f"None helps enough on validation: log loss {before:.4f} as it is, out of fold {tried}; at least "
            f"{rules.margin:g} and one standard error must be saved without a worse calibration error or ranking."
        )
    return (
        f"{method.capitalize()} helps on validation: out of fold, log loss {figures.log_loss[method]:.4f} after "
        f"{before:.4f}, calibration error {figures.ece[method]:.4f} after {figures.ece[NONE]:.4f}."
    )
