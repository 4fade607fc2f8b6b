"""Registered versions as trainings leave them: in a real registry, with verdicts, and a place in Bento's store.

For tests only.
No model is trained: what moves between stages is the version, and what holds it back are the stored verdicts.
"""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.deployment import DeploymentResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline.resources.stages.registry import RegistryResource
from e2i_pipeline.storage.references import write_json
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in

BRAND, NAME = "Kisqali", "e2i-Kisqali-conversion"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = "ann.lee@example.com", "bob.roe@example.com"
SCOPE = ExperimentScope(
    key="scope-1", brand=BRAND, target="treatment_initiated", problem_type="classification", population="all",
    observation_window_days=None, prediction_horizon_days=180, minimum_auc=0.6, minimum_precision_at_k=1.2,
    maximum_fpr=0.2, capacity=0.1,
)  # fmt: skip


class Registered:
    """The registry of one state folder.

    Args:
        state: The state folder.
        settings: Further environment variables.
    """

    def __init__(self, state: Path, **settings: str) -> None:
        self.state = state
        self.environment = {"E2I_STATE_DIR": str(state), "E2I__BRANDS": f"[{BRAND}]", **settings}
        self._resources: dict[str, Any] = build_resources(load_settings(self.environment))

    @classmethod
    def new(cls, state: Path) -> "Registered":
        """An empty one, with its scope."""
        state.mkdir(parents=True)
        store_in(state)
        made = cls(state)
        stored = {"type": "ExperimentScope", "reference": SCOPE.model_dump(mode="json")}
        write_json(state / "references" / "current" / "experiment_scope" / f"{BRAND}.json", stored)
        return made

    @property
    def mlflow(self) -> MlflowResource:
        return self._resources["mlflow"]

    @property
    def metadata(self) -> MetadataResource:
        return self._resources["metadata"]

    @property
    def gate(self) -> GateResource:
        return self._resources["gate"]

    @property
    def deployments(self) -> DeploymentResource:
        return self._resources["deployments"]

    @property
    def promotions(self) -> PromotionResource:
        return self._resources["promotions"]

    @property
    def registry(self) -> RegistryResource:
        return self._resources["registry"]

    def train(
        self, key: str, *, unmet: tuple[str, ...] = (), has_bento: bool = True, answers: bool = True
    ) -> ModelVersion:
        """Registers a training's version with its evaluation verdict, and with its Bento's where it has one."""
        run_id, experiment_id, _ = self.mlflow.open_run(key, BRAND, BRAND, key)
        self.mlflow.log_params(run_id, {"training_dataset": f"rows of {key}"})
        model = client_of(self.mlflow).create_logged_model(experiment_id, source_run_id=run_id)
        trained = TrainedModelRef(
            key=key, brand=BRAND, algorithm="xgboost", location="", version=f"files of {key}", mlflow_run_id=run_id,
            model_uri=model.model_uri, fit_rows=900, seconds=1.0,
        )  # fmt: skip
        evaluation = EvaluationRef(
            key=key, brand=BRAND, location="", version="e", metrics={"test": {"auc": 0.7}}, threshold=0.5,
            is_passed=not unmet, unmet=unmet,
        )  # fmt: skip
        self.gate.record_evaluation(trained, SCOPE, evaluation, "run", NOON)
        version = self.promotions.register(trained, evaluation, "conversion", "run", NOON)
        if has_bento:
            self._pack(version, answers)
        return version

    def _pack(self, version: ModelVersion, answers: bool) -> None:
        """The manifests of a Bento in its store, and the verdict on it."""
        for store, manifest in (("bentos", "bento.yaml"), ("models", "model.yaml")):
            folder = self.state / "bentoml" / store / NAME.lower() / f"{version.version}-made"
            folder.mkdir(parents=True)
            (folder / manifest).touch()
        bento = self.registry.bentoml.built_for(version)
        self.gate.record_infrastructure(bento, "" if answers else "It answers otherwise.", "run", NOON)

    def shown(self) -> tuple[dict[str, str], str | None, str | None, str | None]:
        """Stage by version, and who serves according to registry, record and ledger."""
        stages = {version.version: version.stage for version in self.mlflow.search_models()}
        recorded = {row["version"]: row["stage"] for row in self.metadata.rows("ml_model_registry", name=NAME)}
        assert recorded == stages
        champion = self.metadata.champion(NAME)
        return (
            stages,
            self.mlflow.holder(NAME, "production"),
            champion.version if champion else None,
            self.metadata.standing(NAME).version,
        )


def act(state: str, action: str, hours: int, dies_before: int) -> None:
    """Does one thing as a person does it, in this process; killed right before the n-th change that it commits.

    Args:
        state: The state folder.
        action: `promote 2`, or `rollback`.
        hours: When, after noon.
        dies_before: The change; 0 for none.
    """
    seen = [0]

    def note(connection: Any, _cursor: object, statement: str, *_more: object) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["has_written"] = True

    def count(connection: Any) -> None:
        seen[0] += connection.info.pop("has_written", False)
        if dies_before and seen[0] == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)

    registered = Registered(Path(state))
    registered.metadata.ledger_head()
    registered.mlflow.search_models()  # both stores are open: what is committed from now on is the decision's
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", count)
    what, _, number = action.partition(" ")
    if what == "promote":
        registered.registry.promote(NAME, number, ANN, "It is better in the clinic.", NOON + timedelta(hours=hours))
    else:
        registered.registry.rollback(BRAND, BOB, "The field team complains.", NOON + timedelta(hours=hours))
