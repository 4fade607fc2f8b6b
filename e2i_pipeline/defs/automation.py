"""When things run without being asked: a job over everything but effects, a schedule and a sensor that ask for it.

Each run goes as far as the gates let it, and does only what is not done yet. Both are off until somebody switches them
on. How a change is recognized stands in `policies.py`, when to look in the configuration.
"""

from datetime import UTC, datetime

import dagster as dg

from e2i_pipeline.config.loader import settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.defs.partitions import BRANDS
from e2i_pipeline.errors import E2IError
from e2i_pipeline.policies import SCHEDULE_UNTIL_SWITCHED_ON, SENSOR_UNTIL_SWITCHED_ON, settled_change
from e2i_pipeline.resources.sources import SourceResource

_CHOSEN = settings().automation

brand_refresh = dg.define_asset_job(
    "brand_refresh",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("causal"),
    partitions_def=BRANDS,
    description="Everything but effects, from the source tables to the predictions of one brand.",
)

effect_refresh = dg.define_asset_job(
    "effect_refresh",
    selection=dg.AssetSelection.groups("causal"),
    partitions_def=BRANDS,
    description="What engagement changes, for one brand, on the rows that are there. It needs the extra `causal`.",
)


@dg.schedule(
    job=brand_refresh,
    cron_schedule=_CHOSEN.nightly_cron,
    execution_timezone=_CHOSEN.timezone,
    default_status=SCHEDULE_UNTIL_SWITCHED_ON,
)
def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Refreshes every brand each night (`automation.nightly_cron`)."""
    night = context.scheduled_execution_time.isoformat()
    return [dg.RunRequest(run_key=f"{night} {brand}", partition_key=brand) for brand in BRANDS.get_partition_keys()]


@dg.sensor(
    job=brand_refresh,
    minimum_interval_seconds=_CHOSEN.sensor_interval_seconds,
    default_status=SENSOR_UNTIL_SWITCHED_ON,
)
def source_changed(context: dg.SensorEvaluationContext, source: SourceResource) -> dg.SensorResult | dg.SkipReason:
    """Refreshes every brand when the source has changed; it looks at files, not into them.

    A generated source never changes: it is refreshed once, after the sensor was switched on.
    """
    try:
        found = {table: source.fingerprint(table) for table in TABLES}
    except E2IError as err:
        return dg.SkipReason(str(err))
    look = settled_change(context.cursor, found, datetime.now(UTC))
    if not look.request:
        return dg.SensorResult(skip_reason=look.why_not, cursor=look.cursor)
    tags = {"e2i/changed": ", ".join(look.changed)}
    brands = BRANDS.get_partition_keys()
    requests = [dg.RunRequest(run_key=f"{look.request} {b}", partition_key=b, tags=tags) for b in brands]
    return dg.SensorResult(run_requests=requests, cursor=look.cursor)
