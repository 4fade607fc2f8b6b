"""`python -m benchmarks.frame.dagster_run`: what Dagster's records say of the newest run, as JSON on standard output.

A program of its own, so that whoever measures never imports Dagster. DAGSTER_HOME names the records.
"""

import json
import sys
from typing import Any

import dagster as dg


def newest_run() -> dict[str, Any]:
    """The newest run.

    Returns:
        `status`; `seconds` from its start to its end; `assets`: asset to whether it said `unchanged`; `steps`: step to
        seconds.
    """
    with dg.DagsterInstance.get() as instance:
        record = instance.get_run_records(limit=1)[0]
        run_id = record.dagster_run.run_id
        assets: dict[str, bool] = {}
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            if entry.dagster_event is not None:
                made = entry.dagster_event.step_materialization_data.materialization
                unchanged = made.metadata.get("unchanged")
                assets[made.asset_key.to_user_string()] = bool(unchanged and unchanged.value)
        steps = {
            step.step_key: round(step.end_time - step.start_time, 3)
            for step in instance.get_run_step_stats(run_id)
            if step.start_time and step.end_time
        }
        return {
            "status": record.dagster_run.status.value,
            "seconds": (record.end_time or 0.0) - (record.start_time or 0.0),
            "assets": assets,
            "steps": steps,
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(newest_run()))
