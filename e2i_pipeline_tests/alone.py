"""Materializes assets of a brand one by one, each alone in a run of its own, and says as JSON how each has ended.

python -m e2i_pipeline_tests.alone Kisqali hyperparameter_study trained_model
"""

import json
import sys

import dagster as dg

from e2i_pipeline.definitions import defs


def ended(asset: str, brand: str, instance: dg.DagsterInstance) -> str:
    """The error of the step and its message; empty where it went well."""
    loaded = defs()
    job, key = loaded.resolve_implicit_global_asset_job_def(), dg.AssetKey(asset)
    is_partitioned = loaded.get_repository_def().asset_graph.get(key).is_partitioned
    result = job.execute_in_process(
        asset_selection=[key],
        instance=instance,
        raise_on_error=False,
        partition_key=brand if is_partitioned else None,
    )
    if result.success:
        return ""
    failures = [event.step_failure_data for event in result.filter_events(lambda event: event.is_step_failure)]
    told = [data.user_failure_data for data in failures if data.user_failure_data]
    return "\n".join(f"{data.metadata['error'].value}: {data.description}" for data in told) or "no failure of ours"


if __name__ == "__main__":
    with dg.DagsterInstance.ephemeral() as ephemeral:
        found = {asset: ended(asset, sys.argv[1], ephemeral) for asset in sys.argv[2:]}
    sys.stdout.write(json.dumps(found))
