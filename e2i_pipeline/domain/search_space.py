"""The search-space language of the configuration: what a study may try for each parameter of an algorithm.

    max_depth: [3, 10]                                  two numbers: a range, whole numbers or not
    max_depth: {low: 3, high: 10}                       the same, spelled out
    learning_rate: {low: 0.01, high: 0.3, log: true}    a range on a logarithmic scale
    n_estimators: {low: 100, high: 1000, step: 50}      a range in steps
    grow_policy: [depthwise, lossguide]                 a choice; so is a list of one, or of three and more
    max_leaves: {low: 8, high: 64, when: {grow_policy: [lossguide]}}
                                                        tried only where another parameter has one of these values
    sampling: {values: [a, b], when: {...}}             likewise a choice

A condition may name several parameters: all must have one of their values, and one that is not tried itself has none.
What is not tried keeps the algorithm's own default. A range is of whole numbers when both ends are written so (`1` and
not `1.0`). A choice between two numbers is a range with a step: `{low: 3, high: 10, step: 7}`. Which parameters an
algorithm has stands in `learners`.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard, cast

from e2i_pipeline.errors import ConfigurationError

Value = bool | int | float | str


class Trial(Protocol):
    """What a study's trial offers (`optuna.trial.Trial` does)."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of `choices`."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """A whole number from `low` to `high`, both included."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        """A number from `low` to `high`."""
        ...


@dataclass(frozen=True)
class Choice:
    """A categorical parameter: one of `values`.

    Attributes:
        values: What may be chosen.
        when: Other parameters with the values of which each must have one; empty for a parameter always tried.
    """

    values: tuple[Value, ...]
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def holds(self, value: Value) -> bool:
        """Whether the value may be chosen."""
        return _is_among(value, self.values)

    def suggest(self, trial: Trial, name: str) -> Value:
        """Lets the trial choose a value; `name` is the parameter's name in the study."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range:
    """A numeric parameter from `low` to `high`, both included.

    Attributes:
        low: Smallest value.
        high: Largest value; >= low.
        is_log: Whether it is sampled on a logarithmic scale; then low > 0 and there is no step.
        step: Distance between the values tried, > 0; None for any.
        when: As for `Choice`.
    """

    low: int | float
    high: int | float
    is_log: bool = False
    step: int | float | None = None
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def holds(self, value: Value) -> bool:
        """Whether the value lies within the range."""
        return _is_number(value) and self.low <= value <= self.high

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial, name: str) -> Value:
        """Lets the trial choose a value; `name` is the parameter's name in the study."""
        if self.is_whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.is_log)
        return trial.suggest_float(name, float(self.low), float(self.high), step=self.step, log=self.is_log)


Space = Mapping[str, Choice | Range]


def parse_space(raw: Mapping[str, Any], path: str = "optuna.search_space") -> dict[str, Choice | Range]:
    """Reads the search space of one algorithm.

    Args:
        raw: Parameter to its form in the configuration.
        path: The mapping's place in the configuration, for messages.

    Returns:
        Parameter to what may be tried, in the same order.

    Raises:
        ConfigurationError: A form is not of the language, or a condition names what is not there, cannot come true or
            rests on itself; the message names the key's full path.
    """
    space = {name: _parse(form, f"{path}.{name}") for name, form in raw.items()}
    for name, dimension in space.items():
        _check_condition(name, dimension, space, path)
    _in_order(space, path)
    return space


def suggest(trial: Trial, space: Space, prefix: str = "") -> dict[str, Value]:
    """Lets a trial choose a value for each parameter.

    Args:
        trial: The study's trial.
        space: What `parse_space` returned.
        prefix: Put before each parameter's name in the study, so that two algorithms' parameters stay apart.

    Returns:
        Parameter (without the prefix) to value, in the order of the space; without those whose condition does not hold.
    """
    chosen: dict[str, Value] = {}
    for name in _in_order(space):
        if all(other in chosen and _is_among(chosen[other], values) for other, values in space[name].when):
            chosen[name] = space[name].suggest(trial, prefix + name)
    return {name: chosen[name] for name in space if name in chosen}


def _in_order(space: Space, path: str = "") -> list[str]:
    """The parameters in the order of the space, but each after those that its condition names."""
    ordered: list[str] = []
    waiting = list(space)
    while waiting:
        ready = next((n for n in waiting if all(other in ordered for other, _ in space[n].when)), None)
        if ready is None:
            raise ConfigurationError(
                f"{', '.join(f'{path}.{name}.when' for name in waiting)}: these conditions rest on each other, so that "
                "none of their parameters can be tried first. Take one of them away."
            )
        ordered.append(ready)
        waiting.remove(ready)
    return ordered


def _check_condition(name: str, dimension: "Choice | Range", space: Space, path: str) -> None:
    for other, values in dimension.when:
        where = f"{path}.{name}.when.{other}"
        if other not in space:
            near = difflib.get_close_matches(other, [n for n in space if n != name], n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"{where}: the search space has no parameter of this name.{meant}")
        never = [value for value in values if not space[other].holds(value)]
        if never:
            raise ConfigurationError(f"{where}: {never[0]!r} is never tried for {other}, so it cannot come true.")


def _parse(form: Any, path: str) -> Choice | Range:
    if isinstance(form, Mapping):
        whole = cast("Mapping[Any, Any]", form)
        when = _when(whole["when"], f"{path}.when") if "when" in whole else ()
        form = {key: value for key, value in whole.items() if key != "when"}
        if "values" in form:
            if list(form) != ["values"] or not isinstance(form["values"], (list, tuple)):
                raise ConfigurationError(f"{path}: a choice is {{values: [...]}}, with nothing but a condition (when).")
            return replace(_choice(tuple(cast("Sequence[Any]", form["values"])), path), when=when)
        return replace(_range(form, path), when=when)
    if isinstance(form, (list, tuple)):
        values = tuple(cast("Sequence[Any]", form))
        if len(values) == 2 and _is_number(values[0]) and _is_number(values[1]):
            return _range({"low": values[0], "high": values[1]}, path)
        return _choice(values, path)
    raise ConfigurationError(
        f"{path}: {form!r} is no search space. Write a list of choices, [low, high], or {{low: ..., high: ...}} with "
        "log: true or a step; a list of one fixes the parameter."
    )


def _when(form: Any, path: str) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    if not isinstance(form, Mapping) or not form:
        raise ConfigurationError(f"{path}: {form!r} is no condition. Write {{other_parameter: [value, ...]}}.")
    conditions: list[tuple[str, tuple[Value, ...]]] = []
    for name, values in cast("Mapping[Any, Any]", form).items():
        if not isinstance(values, (list, tuple)):
            raise ConfigurationError(f"{path}.{name}: {values!r} is no list of values. Write [{values!r}].")
        conditions.append((str(name), _choice(tuple(cast("Sequence[Any]", values)), f"{path}.{name}").values))
    return tuple(conditions)


def _choice(values: tuple[Any, ...], path: str) -> Choice:
    wrong = [v for v in values if not isinstance(v, (bool, int, float, str)) or v != v]
    if not values or wrong:
        what = f"{wrong[0]!r} is no choice" if wrong else "an empty list leaves nothing to try"
        raise ConfigurationError(f"{path}: {what}. A choice is text, a number, true or false.")
    if len({repr(v) for v in values}) != len(values):
        raise ConfigurationError(f"{path}: a choice is named twice in {list(values)}.")
    return Choice(values)


def _range(form: Mapping[Any, Any], path: str) -> Range:
    known = ("low", "high", "log", "step", "when")
    for key in form:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigurationError(
                f"{path}.{key} is unknown.{f' Did you mean {near[0]}?' if near else ''} A range has low, high, log "
                "or step, and when."
            )
    low, high, step, is_log = form.get("low"), form.get("high"), form.get("step"), form.get("log", False)
    if not _is_number(low) or not _is_number(high):
        raise ConfigurationError(f"{path}: low and high must be finite numbers; got low {low!r}, high {high!r}.")
    if low > high:
        raise ConfigurationError(
            f"{path}: low {low} is above high {high}. For a choice between two numbers write a range with their "
            "distance as step."
        )
    if not isinstance(is_log, bool):
        raise ConfigurationError(f"{path}.log must be true or false; got {is_log!r}.")
    if is_log and (low <= 0 or step is not None):
        raise ConfigurationError(f"{path}: a range with log: true needs low > 0 and no step; got low {low}.")
    return Range(low, high, is_log, _step(step, low, high, path))


def _step(step: Any, low: int | float, high: int | float, path: str) -> int | float | None:
    if step is None:
        return None
    if not _is_number(step) or step <= 0:
        raise ConfigurationError(f"{path}.step must be a number above 0; got {step!r}.")
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, int):
        raise ConfigurationError(f"{path}.step {step} is no whole number, while low and high are.")
    return step


def _is_among(value: Value, values: Sequence[Value]) -> bool:
    return any(_is_same(value, other) for other in values)


def _is_same(value: Value, other: Value) -> bool:
    """Equal and both truth values or neither: to Python, 1 is true."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
