"""The search spaces of a study's algorithms, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

from e2i_pipeline.domain.algorithms import algorithm, check_parameters, check_problem_type
from e2i_pipeline.domain.search_space import Choice, Range, parse_space
from e2i_pipeline.errors import ConfigurationError


def spaces_of(
    algorithms: Sequence[str], search_space: Mapping[str, Mapping[str, Any]], problem_type: str = "classification"
) -> dict[str, dict[str, Choice | Range]]:
    """The parsed search space per algorithm; both in order of name, so that the order of writing decides nothing."""
    if not algorithms:
        raise ConfigurationError("optuna.algorithms is empty: a study needs at least one algorithm")
    spaces: dict[str, dict[str, Choice | Range]] = {}
    for name in sorted(set(algorithms)):
        learner = algorithm(name)
        check_problem_type(learner, problem_type)
        if name not in search_space:
            raise ConfigurationError(f"optuna.search_space has no entry for {name}, which optuna.algorithms names")
        check_parameters(learner, search_space[name], problem_type)
        spaces[name] = dict(sorted(parse_space(search_space[name], f"optuna.search_space.{name}").items()))
    return spaces
