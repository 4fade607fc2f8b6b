"""What a model's features were when it was trained: the definitions, not the values.

It is written when definitions are applied, named by its content, and travels with each model that is trained on them.
"""

from typing import Any

from pydantic import Field

from e2i_pipeline.contracts.base import Contract, Reference
from e2i_pipeline.contracts.references import FeatureSpec

CONTRACT_FILE = "feature_contract.json"
"""Its name among the files of a model, in MLflow and in a Bento."""


class ContractField(Contract):
    """One stored column.

    Attributes:
        name: Column name.
        dtype: Type in Feast.
        tags: Its tags in Feast, e.g. `role: anchor`.
    """

    name: str
    dtype: str
    tags: dict[str, str] = Field(default_factory=dict)


class ContractView(Contract):
    """One view.

    Attributes:
        entity: Join key.
        ttl_seconds: Age at which a value is no longer served; 0 where there is no limit.
        bound: Whether a row is seen at its own time (`<=`) or only after it (`<`).
        event_bound: The same of an event with a time, in the table behind the view.
        fields: Stored columns, in order of their names.
        covariates: Configured columns among them as they were configured, windows included.
        table: Feature table behind it, within the state folder.
        table_key: Hash of what the table was made from.
        table_version: SHA-256 of its content.
    """

    entity: str
    ttl_seconds: int
    bound: str
    fields: tuple[ContractField, ...]
    event_bound: str = "<="
    covariates: tuple[dict[str, Any], ...] = ()
    table: str
    table_key: str
    table_version: str


class ContractOnDemand(Contract):
    """One on-demand view.

    Attributes:
        features: Its features, name to type.
        sources: Views and request sources that it reads, each with the columns.
        text: The source of its function, which is all that Feast keeps of it.
    """

    features: dict[str, str]
    sources: dict[str, tuple[str, ...]]
    text: str


class FeatureContract(Reference):
    """The feature definitions that a model is trained on.

    Attributes:
        key: Hash of all the rest.
        project: Feast project.
        service: Feature service.
        registry_key: Key of the applied definitions, see `FeatureRegistryRef`.
        features: The model's features, in order.
        touch_window_days: Look-back window of `recent_touches`.
        views: Views by name.
        on_demand: On-demand views by name.
    """

    project: str
    service: str
    registry_key: str
    features: tuple[FeatureSpec, ...]
    touch_window_days: int
    views: dict[str, ContractView]
    on_demand: dict[str, ContractOnDemand]
