"""The settings of experiment tracking and of the model registry."""

from typing import Literal

from pydantic import Field, model_validator

from e2i_pipeline.config.part import Part

STAGES = ("development", "staging", "shadow", "production", "archived")


class CircuitBreakerSettings(Part):
    """When MLflow is left alone with what is auxiliary (trials, pictures), and for how long.

    Attributes:
        failure_threshold: Consecutive failures that open the circuit.
        recovery_timeout: Seconds that it stays open.
        half_open_requests: Calls that must succeed before it closes.
    """

    failure_threshold: int = Field(ge=1)
    recovery_timeout: float = Field(gt=0)
    half_open_requests: int = Field(ge=1)


class RegistrySettings(Part):
    """The registered names, and the stages of a version.

    Attributes:
        model_name_pattern: Registered name, with `{brand}` and `{model_type}`.
        stages: The stages, in order. They are the platform's five: edges, aliases and retention rest on them.
    """

    model_name_pattern: str
    stages: tuple[Literal["development", "staging", "shadow", "production", "archived"], ...]

    @model_validator(mode="after")
    def _known(self) -> "RegistrySettings":
        if self.stages != STAGES:
            raise ValueError(f"stages are {', '.join(STAGES)}, in this order: what may follow what rests on them")
        missing = [part for part in ("{brand}", "{model_type}") if part not in self.model_name_pattern]
        if missing:
            raise ValueError(f"model_name_pattern needs {' and '.join(missing)}: one name is one brand's one model")
        return self


class AutologSettings(Part):
    """MLflow's autolog, which stays off.

    Attributes:
        enabled: Only `false`. Autolog logs to MLflow's global tracking address and active run, which are the user's
            own here; each of a study's fits would write other parameters into one run; it pickles estimators; and its
            input example is a row of the training data, that is a patient's.
    """

    enabled: bool

    @model_validator(mode="after")
    def _off(self) -> "AutologSettings":
        if self.enabled:
            raise ValueError(
                "autolog cannot be switched on: it would pickle models and keep patients' rows as input examples. What "
                "it would log (parameters, metrics, model, signature, example) is logged explicitly, once per training"
            )
        return self


class MlflowSettings(Part):
    """Names, tags and the registry in MLflow, and how its failures are borne.

    Attributes:
        experiment_prefix: First part of each experiment's name.
        default_tags: Tags of each run, experiment and version.
        registry: The model registry.
        autolog: MLflow's autolog.
        circuit_breaker: How failures of what is auxiliary are borne.
    """

    experiment_prefix: str = Field(min_length=1)
    default_tags: dict[str, str]
    registry: RegistrySettings
    autolog: AutologSettings
    circuit_breaker: CircuitBreakerSettings
