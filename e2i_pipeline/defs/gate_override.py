"""The job by which a named person opens the gate from the Dagster UI; `e2i gate override` does the same in a shell.

It makes nothing: what is downstream goes on when it is materialized the next time.
"""

from datetime import UTC, datetime

import dagster as dg
from pydantic import ConfigDict, Field

from e2i_pipeline.domain.overrides import sentence
from e2i_pipeline.errors import E2IError
from e2i_pipeline.failures import failure
from e2i_pipeline.resources.stages.overrides import PER_BRAND, OverrideResource
from e2i_pipeline.storage.presentation import overrides_shown


class OverrideConfig(dg.Config):
    """What a person has to say to override the gate. It goes into the ledger for good: no patient's data."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(description="Who answers for it: your e-mail address, or a name in the setting override.people.")
    reason: str = Field(description="Why the table may pass as it is, in at least 10 characters.")
    table: str = Field(description="The table that the gate refused, e.g. patient_journeys.")
    brand: str = Field(default="", description="The brand, for training_dataset; by default the first.")


@dg.op(description="Records the override in the ledger, for the present version of the table.")
def record_override(context: dg.OpExecutionContext, config: OverrideConfig, overrides: OverrideResource) -> None:
    """Records the override, and shows it on the asset."""
    try:
        held = overrides.override(
            config.table, config.actor, config.reason, datetime.now(UTC), config.brand, context.run_id
        )
    except E2IError as err:
        raise failure(err, context.op_def.name) from None
    context.log.info(sentence(held))
    partition = (config.brand or overrides.brands[0]) if config.table in PER_BRAND else None
    observed = dg.AssetObservation(config.table, metadata=overrides_shown([held]), partition=partition)
    context.log_event(observed)


@dg.job(description="Lets a table pass the gate on a named person's word, with a reason that goes into the ledger.")
def gate_override() -> None:
    """One override."""
    record_override()
