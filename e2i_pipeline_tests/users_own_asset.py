"""A user's own code location: the product's, and beside it an asset of theirs, after the study, with dagster-mlflow.

Materializes both in one Dagster run and says as JSON which MLflow run theirs met.

python -m e2i_pipeline_tests.users_own_asset Kisqali 2
"""

import json
import sys
from typing import Any

import dagster as dg
from dagster_mlflow import mlflow_tracking

from e2i_pipeline.config.loader import settings
from e2i_pipeline.definitions import defs
from e2i_pipeline.defs.partitions import BRANDS

THEIR_PARAMETER = {"their": "parameter"}
met: dict[str, str] = {}


@dg.asset(partitions_def=BRANDS, deps=["hyperparameter_study"], required_resource_keys={"their_mlflow"})
def of_the_users_own(context: dg.AssetExecutionContext) -> None:
    tracking: Any = context.resources.their_mlflow
    tracking.log_params(THEIR_PARAMETER)
    met.update(mlflow_run_id=tracking.active_run().info.run_id, dagster_run_id=context.run_id)


def their_tracking(brand: str) -> dg.ResourceDefinition:
    """dagster-mlflow's resource on the experiment of the brand's trainings."""
    chosen = settings()
    return mlflow_tracking.configured(
        {
            "experiment_name": f"{chosen.mlflow.experiment_prefix}/{brand}-{chosen.target}",
            "mlflow_tracking_uri": chosen.stores.mlflow_tracking_uri.get_secret_value(),
            "env": {},
            "extra_tags": {},
        }
    )


if __name__ == "__main__":
    theirs = dg.Definitions(assets=[of_the_users_own], resources={"their_mlflow": their_tracking(sys.argv[1])})
    job = dg.Definitions.merge(defs(), theirs).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as ephemeral:
        job.execute_in_process(
            asset_selection=[dg.AssetKey("hyperparameter_study"), of_the_users_own.key],
            run_config={"ops": {"hyperparameter_study": {"config": {"n_trials": int(sys.argv[2])}}}},
            instance=ephemeral,
            partition_key=sys.argv[1],
        )
    sys.stdout.write(json.dumps(met))
