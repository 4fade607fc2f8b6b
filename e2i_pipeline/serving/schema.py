"""What a request may hold and what the answer looks like, made from the model's manifest.

A new feature of the model is a new field here without a change of code. Scoring belongs to `scoring`, routes to
`service`. Inputs are kept out of validation errors, which end up in logs and answers.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, create_model

from e2i_pipeline.contracts.model_files import ModelManifest
from e2i_pipeline.contracts.references import FeatureSpec

MAX_ROWS = 10_000
"""Rows in one request that is not batched with others: about 1 MB of JSON and 1 s. More belongs into batch scoring."""

MAX_TEXT = 200
"""Characters of a category: the longest one of ours has fewer than 60."""

MAX_EXAMPLES = 20
"""Known categories listed one by one in the schema; the description names them all."""

Scalar = bool | int | float | str | None


class Strict(BaseModel):
    """A closed model whose validation errors never show what was sent."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, protected_namespaces=())


class Prediction(Strict):
    """The answer for one row.

    Attributes:
        probability: Of the outcome within the horizon, 0..1.
        is_flagged: Whether it reaches the model's threshold; null for a model without one.
        model_name: Registered name.
        model_version: Registered version.
        notes: What was odd about the row, never with its values: a category that the model has not seen.
    """

    probability: float
    is_flagged: bool | None
    model_name: str
    model_version: str
    notes: list[str] = []

    @property
    def score(self) -> float:
        """What the model itself answers."""
        return self.probability


class Estimate(Strict):
    """The answer of a regression for one row.

    Attributes:
        value: The outcome that is expected, in its own unit.
        model_name: Registered name.
        model_version: Registered version.
        notes: As for `Prediction`.
    """

    value: float
    model_name: str
    model_version: str
    notes: list[str] = []

    @property
    def score(self) -> float:
        """What the model itself answers."""
        return self.value


Answer = Prediction | Estimate


class WireAnswer(Strict):
    """The platform's wire format: one label (1 flagged, 0 not) and one probability per row."""

    predictions: list[int]
    probabilities: list[float]

    @property
    def scores(self) -> list[float]:
        """What the model itself answers, per row."""
        return self.probabilities


class WireEstimates(Strict):
    """The platform's wire format of a regression: one expected outcome per row."""

    predictions: list[float]

    @property
    def scores(self) -> list[float]:
        """What the model itself answers, per row."""
        return self.predictions


class Explained(Strict):
    """One row's score taken apart.

    Attributes:
        base_value: Where every row starts.
        margin: Where this one ends: the base value plus all contributions.
        contributions: Per feature, largest absolute value first.
        unit: Of these three: `log-odds`, `probability`, or `outcome` (the outcome's own unit).
        model_name: Registered name.
        model_version: Registered version.
    """

    base_value: float
    margin: float
    contributions: dict[str, float]
    unit: str
    model_name: str
    model_version: str


class Explanation(Explained):
    """One row's probability taken apart.

    Attributes:
        probability: The answer of `predict`: the margin as a probability, recalibrated where the model is.
    """

    probability: float


class EstimateExplanation(Explained):
    """One row's expected outcome taken apart.

    Attributes:
        value: The answer of `predict`.
    """

    value: float


class AnswerTypes(NamedTuple):
    """What the routes of a service answer, by the type of its model's problem."""

    predict: Any
    wire: Any
    explain: Any


ANSWERS = {
    "classification": AnswerTypes(Prediction, WireAnswer, Explanation),
    "regression": AnswerTypes(Estimate, WireEstimates, EstimateExplanation),
}


class WireRequest(Strict):
    """The platform's wire format: rows as lists, in the order of the model's features."""

    input: list[list[Scalar]] = Field(min_length=1, max_length=MAX_ROWS)


def row_model(manifest: ModelManifest) -> type[BaseModel]:
    """The schema of one row: a field per feature, each of which may be null or left out where it is not known.

    Numbers must be numbers (not text), inside the feature's range; booleans true, false, 1 or 0; a category any text,
    since one that was not seen in training is a fact about the world and no error.
    """
    fields: dict[str, Any] = {
        feature.name: (_annotation(feature, manifest), Field(default=None, description=_describe(feature, manifest)))
        for feature in manifest.features
    }
    return create_model("Row", __base__=Strict, **fields)


def rows_per_request(max_batch_size: int) -> int:
    """The most rows that a request to `predict` may hold: one batch, or `MAX_ROWS` where nothing is batched.

    BentoML would split a larger request, and under a short `max_latency_ms` sheds the later parts however idle it is:
    2,000 rows in one request were answered with 503 at 100 ms, every time (seen with 1.4.39).
    """
    return max_batch_size if max_batch_size > 1 else MAX_ROWS


def request_model(row: type[BaseModel], name: str, max_rows: int) -> type[BaseModel]:
    """The body of a request: `{"rows": [...]}`."""
    rows: Any = list[row]
    return create_model(name, __base__=Strict, rows=(rows, Field(min_length=1, max_length=max_rows)))


def _annotation(feature: FeatureSpec, manifest: ModelManifest) -> Any:
    known: Any
    if feature.kind == "boolean":
        known = Annotated[StrictBool, BeforeValidator(_yes_or_no)]
    elif feature.kind == "categorical":
        extra: Any = {"examples": list(manifest.categories.get(feature.name, ()))[:MAX_EXAMPLES]}
        known = Annotated[str, Field(strict=True, max_length=MAX_TEXT, json_schema_extra=extra)]
    else:
        known = Annotated[float, Field(strict=True, ge=feature.low, le=feature.high)]
    return known | None


def _describe(feature: FeatureSpec, manifest: ModelManifest) -> str:
    if feature.kind != "categorical":
        return feature.description
    known = ", ".join(manifest.categories.get(feature.name, ()))
    return f"{feature.description} Seen in training: {known}. Any other is scored like an unseen one.".strip()


def _yes_or_no(value: object) -> object:
    """Turns the numbers 1 and 0 into booleans; anything else is left for the strict check to refuse."""
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    return value
