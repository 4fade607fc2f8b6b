"""What the previous study of a brand found, for the first trials of the next one.

The previous study is the one that ended last, by itself, over another dataset of the same brand with the same metric.
Of the same dataset it is never taken: a study repeated, or with another number of trials, would depend on which
of them came first. When it is resolved, and that it is resolved once, belongs to the stage of training.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from e2i_pipeline.domain.search_space import Choice, Range, Space, Value
from e2i_pipeline.resources.optuna_batches import slot_of
from e2i_pipeline.resources.optuna_past import ALGORITHM
from e2i_pipeline.resources.optuna_records import record
from e2i_pipeline.resources.optuna_storage import StudyStorage

BRAND, DATASET, METRIC, ALGORITHMS = "brand", "dataset", "metric", "algorithms"
"""Attributes of a study by which it is found."""

ENDED = "e2i:ended"
"""Attribute of a study that has what it was asked for: when it had (UTC, ISO 8601)."""

MOST = 4
"""Trials that are taken over: half of a batch of the default size, so that the other half looks elsewhere."""


class Origin(NamedTuple):
    """Where first trials come from.

    Attributes:
        dataset: Version of the dataset whose study it was; empty where there was none.
        trials: `{"algorithm": name, "parameters": {...}}`, the best first.
    """

    dataset: str
    trials: tuple[dict[str, Any], ...]


def previous(storage: StudyStorage, brand: str, dataset: str, metric: str) -> Origin:
    """The best trials of the previous study: that of each algorithm, then the next best.

    Args:
        storage: Where studies are kept.
        brand: The brand.
        dataset: Version of the dataset that the next study is of.
        metric: What it optimizes.
    """
    studies = [
        study
        for study in storage.optuna.get_all_studies()
        if study.user_attrs.get(BRAND) == brand
        and study.user_attrs.get(METRIC) == metric
        and study.user_attrs.get(DATASET) not in (None, dataset)
        and study.user_attrs.get(ENDED)
    ]
    last = max(studies, key=lambda study: (study.user_attrs[ENDED], study.study_name), default=None)
    if last is None:
        return Origin("", ())
    names: list[str] = last.user_attrs.get(ALGORITHMS, [])
    only = names[0] if len(names) == 1 else ""
    trials = storage.optuna.get_all_trials(last._study_id, deepcopy=False)
    sign = -1 if last.direction.name == "MAXIMIZE" else 1
    complete = [t for t in trials if t.state.name == "COMPLETE" and slot_of(t) is not None]
    ranked = [record(t, only) for t in sorted(complete, key=lambda t: (sign * (t.value or 0.0), slot_of(t)))]
    firsts = {r.algorithm: r for r in reversed(ranked)}
    leading = [r for r in ranked if firsts[r.algorithm] is r]
    chosen = [*leading, *(r for r in ranked if r not in leading)][:MOST]
    return Origin(
        last.user_attrs[DATASET], tuple({"algorithm": r.algorithm, "parameters": r.parameters} for r in chosen)
    )


def mark_ended(storage: StudyStorage, study_name: str, at: datetime | None = None) -> None:
    """Says of a study that it has what it was asked for, unless that was said before."""
    study = storage.optuna.get_study_id_from_name(study_name)
    if ENDED not in storage.optuna.get_study_user_attrs(study):
        with storage.writing():
            storage.optuna.set_study_user_attr(study, ENDED, (at or datetime.now(UTC)).isoformat())


def given(
    trials: Sequence[Mapping[str, Any]], spaces: Mapping[str, Space], batch_size: int
) -> tuple[dict[str, Value], ...]:
    """Taken-over trials by the names of a study; those that its search space does not allow are left out.

    Args:
        trials: As in `Origin`.
        spaces: Search space per algorithm of the study.
        batch_size: Its batch; at most half of it is given.

    Returns:
        Parameters of the study's first trials.
    """
    valid = [t for t in trials if t["algorithm"] in spaces and _allows(spaces[t["algorithm"]], t["parameters"])]
    return tuple(
        {
            **({ALGORITHM: t["algorithm"]} if len(spaces) > 1 else {}),
            **{f"{t['algorithm']}.{name}": value for name, value in sorted(t["parameters"].items())},
        }
        for t in valid[: batch_size // 2]
    )


def _allows(space: Space, parameters: Mapping[str, Value]) -> bool:
    return space.keys() == parameters.keys() and all(_has(space[name], parameters[name]) for name in space)


def _has(dimension: Choice | Range, value: Value) -> bool:
    if isinstance(dimension, Choice):
        return any(value == v and type(value) is type(v) for v in dimension.values)
    if not isinstance(value, int | float) or isinstance(value, bool) or not dimension.low <= value <= dimension.high:
        return False
    if dimension.is_whole and value != int(value):
        return False
    if dimension.step is None:
        return True
    steps = (value - dimension.low) / dimension.step
    return abs(steps - round(cast("float", steps))) < 1e-9
