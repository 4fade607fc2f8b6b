"""Loads the code location and says as JSON what it defines; run as a process of its own. Tests only.

Its first act is to load the definitions, so that what is imported by then is what they cost.
"""

import gc
import json
import sys
from typing import Any

from e2i_pipeline.definitions import defs

loaded = defs()
imported = sorted(sys.modules)
garbage = {"is_looked_for": gc.isenabled(), "threshold": gc.get_threshold()[0], "left_out": gc.get_freeze_count()}


def described() -> dict[str, Any]:
    """Everything that is defined, in an order of its own."""
    repository = loaded.get_repository_def()
    graph = repository.asset_graph
    nodes = sorted((graph.get(key) for key in graph.get_all_asset_keys()), key=lambda n: n.key.to_user_string())
    specs = {
        node.key.to_user_string(): next(d for d in repository.assets_defs_by_key.values() if node.key in d.keys)
        for node in nodes
        if node.is_materializable
    }
    return {
        "imported": imported,
        "garbage": garbage,
        "executor": loaded.resolve_implicit_global_asset_job_def().executor_def.name,
        "assets": [
            {
                "key": node.key.to_user_string(),
                "group": node.group_name,
                "description": node.description or "",
                "owners": sorted(node.owners),
                "kinds": sorted(node.kinds),
                "tags": dict(node.tags),
                "deps": sorted(key.to_user_string() for key in node.parent_keys),
                "partitions": node.partitions_def.get_partition_keys() if node.partitions_def else [],
                "is_retried": bool(specs[node.key.to_user_string()].op.retry_policy),
                "checks": [
                    {
                        "name": key.name,
                        "is_blocking": graph.get(key).blocking,
                        "description": graph.get(key).description or "",
                    }
                    for key in sorted(node.check_keys, key=lambda k: k.name)
                ],
            }
            for node in nodes
        ],
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "resources": sorted(repository.get_top_level_resources()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(described()))
