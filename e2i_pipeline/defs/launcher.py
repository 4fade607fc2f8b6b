"""Who launched a Dagster run, as far as its tags tell: the actor of what the pipeline decides in it."""

from collections.abc import Mapping

_BY = {"dagster/schedule_name": "schedule", "dagster/sensor_name": "sensor", "dagster/backfill": "backfill"}


def launcher(tags: Mapping[str, str]) -> str:
    """The pipeline, and the person, schedule, sensor or backfill that launched the run.

    Args:
        tags: The run's tags. Dagster sets `user` where its deployment knows who is signed in.
    """
    if user := tags.get("user"):
        return f"pipeline, launched by {user}"
    named = [f"{what} {tags[tag]}" for tag, what in _BY.items() if tag in tags]
    return f"pipeline, launched by {named[0]}" if named else "pipeline"
