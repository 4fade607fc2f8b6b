"""The routes of the prediction service, as a BentoML service made from one Bento's settings.

`predict` and `explain` take named fields, `predict_wire` the platform's lists; health (`/livez`, `/readyz`), metrics
and OpenAPI are BentoML's own. Nothing about a patient is logged: the access log is off, validation errors hide their
input, and a failure inside the model is reported by its type alone. What a row and an answer are stands in `schema`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from e2i_pipeline.serving.model_store import load_from_store
from e2i_pipeline.serving.schema import (
    ANSWERS,
    MAX_ROWS,
    WireRequest,
    request_model,
    row_model,
    rows_per_request,
)
from e2i_pipeline.serving.scoring import Scorer
from e2i_pipeline.serving.settings import ServingSettings

if TYPE_CHECKING:
    from _bentoml_sdk import Service

T = TypeVar("T")

MIN_EXPLAINED = 10
"""Rows that a request to `explain` may always hold: about 2 ms each."""


def prediction_service(settings: ServingSettings) -> "Service[Any]":
    """Makes the service of one Bento.

    The model is loaded when a worker starts, not here: building the Bento needs the schema alone.

    Args:
        settings: As packaged with the Bento.

    Returns:
        A BentoML service with one worker.
    """
    import bentoml

    return bentoml.service(
        name=settings.service,
        workers=1,
        envs=[{"name": "BENTOML_DO_NOT_TRACK", "value": "True"}],
        traffic={"timeout": settings.timeout},
        logging={"access": {"enabled": False}},
    )(_service_class(settings))


def _service_class(settings: ServingSettings) -> type:
    import bentoml

    row = row_model(settings.manifest)
    named: Any = request_model(row, "PredictRequest", rows_per_request(settings.max_batch_size))
    few: Any = request_model(row, "ExplainRequest", max(settings.max_batch_size, MIN_EXPLAINED))
    listed = request_model(row, "WireRequest", MAX_ROWS)
    lists: Any = WireRequest
    answers = ANSWERS[settings.manifest.problem_type]
    predicted, wired, explained = list[answers.predict], answers.wire, list[answers.explain]
    names = [feature.name for feature in settings.manifest.features]

    class PredictionService:
        """Scores patient journeys with one registered model."""

        model_reference = bentoml.models.BentoModel(settings.model_tag)

        def __init__(self) -> None:
            self._scorer = Scorer(load_from_store(self.model_reference), settings)

        @bentoml.api(
            batchable=settings.max_batch_size > 1,
            batch_dim=0,
            max_batch_size=max(settings.max_batch_size, 2),  # BentoML refuses 1, even where nothing is batched
            max_latency_ms=settings.max_latency_ms,
            input_spec=named,
        )
        def predict(self, rows: list[BaseModel]) -> predicted:  # pyright: ignore[reportInvalidTypeForm] - of the model
            """The model's answer per row: the probability of the outcome within the horizon, or its expected value."""
            return _sealed(self._scorer.predict, rows)

        @bentoml.api(input_spec=few)
        def explain(self, rows: list[BaseModel]) -> explained:  # pyright: ignore[reportInvalidTypeForm]
            """What moved each row's score, per feature."""
            return _sealed(self._scorer.explain, rows)

        @bentoml.api(input_spec=lists)
        def predict_wire(self, input: list[list[Any]]) -> wired:  # pyright: ignore[reportInvalidTypeForm]
            """The platform's wire format: values in the order of the features, labels and probabilities back.

            Of a regression, the expected values.
            """
            return _sealed(self._scorer.predict_wire, _named(input, names, listed))

    return PredictionService


def _named(values: Sequence[Sequence[Any]], names: Sequence[str], request: type[BaseModel]) -> list[BaseModel]:
    """Gives the values of the wire format their names, and checks them as `predict` checks its rows."""
    from bentoml.exceptions import InvalidArgument

    odd = [(index, len(row)) for index, row in enumerate(values) if len(row) != len(names)]
    if odd:
        index, found = odd[0]
        raise InvalidArgument(
            f"{len(odd)} of {len(values)} rows have a wrong number of values (the first is row {index}, with {found}): "
            f"the model takes {len(names)}, in this order: {', '.join(names)}."
        )
    checked: Any = request.model_validate({"rows": [dict(zip(names, row, strict=True)) for row in values]})
    return checked.rows


def _sealed(score: Callable[[Sequence[BaseModel]], T], rows: Sequence[BaseModel]) -> T:
    """Scores; a failure shows its type alone, since BentoML logs a traceback and a message may quote a value."""
    from bentoml.exceptions import BentoMLException

    try:
        return score(rows)
    except Exception as err:
        raise BentoMLException(f"The model failed on {len(rows)} rows with {type(err).__name__}.") from None
