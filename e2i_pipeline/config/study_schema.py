"""The settings of the hyperparameter study: what is tried, how long, and which algorithm is fitted in the end."""

from typing import Literal

from pydantic import Field

from e2i_pipeline.config.part import Part

_Values = list[bool | int | float | str]
Parameter = _Values | dict[str, bool | int | float | _Values | dict[str, _Values]]


class StudyDefaults(Part):
    """What a study optimizes and how it samples and prunes."""

    metric: Literal["auc", "log_loss", "rmse", "mae"]
    direction: Literal["maximize", "minimize"]
    sampler: Literal["TPESampler", "RandomSampler"]
    pruner: Literal["MedianPruner", "HyperbandPruner", "NopPruner"]


class SearchSettings(Part):
    """How long a study may search, and by how many.

    Attributes:
        n_trials: Trials to finish.
        timeout: Seconds of trials after which no other one starts.
        n_jobs: Worker processes; at most the cores present are used, which they share.
        batch_size: Trials that do not know of each other. It decides what is found; the number of workers does not.
    """

    n_trials: int = Field(ge=1)
    timeout: int = Field(ge=1)
    n_jobs: int = Field(ge=1)
    batch_size: int = Field(ge=1, le=1_000)


class OptunaSettings(Part):
    """The study: algorithms, their search spaces, when a trial stops early (rounds), and what is chosen in the end.

    Attributes:
        warm_start: Whether the first trials are the best ones of the brand's previous study, of another dataset.
        selection_folds: Folds of the cross-validation that compares several algorithms.
    """

    study_defaults: StudyDefaults
    search: SearchSettings
    algorithms: list[str] = Field(min_length=1)
    early_stopping_rounds: int = Field(ge=1)
    warm_start: bool
    selection_folds: int = Field(ge=2, le=20)
    search_space: dict[str, dict[str, Parameter]]
