"""MLflow: one run per training, its model without a pickle, and the registry with the platform's five stages.

The whole adapter by the name that assets ask for; each part stands in its own module: `mlflow_connection` (how it is
reached and fails), `mlflow_runs`, `mlflow_trials`, `mlflow_records`, `mlflow_lineage`, `mlflow_models`,
`mlflow_registry`, `mlflow_ledger`. MLflow is imported when a method is first called.
"""

import logging

import dagster as dg

from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.mlflow_ledger import MlflowLedger
from e2i_pipeline.resources.mlflow_lineage import MlflowLineage
from e2i_pipeline.resources.mlflow_models import MlflowModels
from e2i_pipeline.resources.mlflow_registry import MlflowRegistry
from e2i_pipeline.resources.mlflow_runs import MlflowRuns
from e2i_pipeline.resources.mlflow_trials import MlflowTrials

_log = logging.getLogger(__name__)


class MlflowResource(MlflowRuns, MlflowTrials, MlflowLineage, MlflowModels, MlflowRegistry, MlflowLedger):
    """MLflow tracking and registry; the fields are those of `MlflowConnection` and `MlflowTrials`.

    It keeps the contract of dagster-mlflow: the tag `dagster_run_id` names the Dagster run that created the training's
    run, so that an asset which uses dagster-mlflow in that Dagster run and experiment meets the same MLflow run.
    """

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Ends what a killed process left RUNNING, and delivers what waits; if MLflow fails, the next run does it."""
        try:
            self.end_abandoned_runs()
        except E2IError as err:
            _log.warning("a training that was killed is still RUNNING in MLflow: %s", err)
        self.deliver_waiting()
