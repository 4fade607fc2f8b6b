"""Registered versions as trainings leave them: in a real registry, with verdicts, and a place in Bento's store.

For tests only.
No model is trained: what moves between stages is the version, and what holds it back are the stored verdicts.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2i_pipeline.cli import main
from e2i_pipeline.config.loader import load_settings, settings
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.causal import EFFECT
from e2i_pipeline.resources.stages.deployment import DeploymentResource
from e2i_pipeline.resources.stages.effect_registry import VERDICT
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline.resources.stages.registry import RegistryResource
from e2i_pipeline.resources.stages.stage_moves import MODEL_SHA256
from e2i_pipeline.storage.references import write_json
from e2i_pipeline_tests.processes import Done
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

    def estimate(self, key: str, *, broken: tuple[str, ...] = (), is_attacked: bool = True) -> ModelVersion:
        """Registers an effect's version with the causal gate's verdict on it, where it was attacked."""
        run_id, experiment_id, _ = self.mlflow.open_run(key, BRAND, BRAND, key)
        model = client_of(self.mlflow).create_logged_model(experiment_id, source_run_id=run_id)
        version = self.mlflow.register_model(
            brand=BRAND, model_type=EFFECT, run_id=run_id, model_uri=model.model_uri, training_key=key,
            tags={VERDICT: "failed" if broken else "passed", MODEL_SHA256: f"files of {key}"},
        )  # fmt: skip
        self.metadata.record_model(
            version, metrics={}, fairness={}, run_id="run", algorithm="linear_dml", registered_at=NOON
        )
        if is_attacked:
            verdict = Verdict(
                key=self.registry.causal._verdict_key(BRAND, f"files of {key}"), gate=EFFECT, is_passed=not broken,
                reasons=broken, decided_at=NOON, run_id="run",
            )  # fmt: skip
            self.metadata.record_verdict(verdict, {})
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


Command = Callable[..., Done]


def models_command(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`e2i models` in this process, with the state folder's environment; whoever uses it clears the settings' cache."""
    for name in [name for name in os.environ if name.startswith(("E2I", "MLFLOW", "BENTOML"))]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **more: str) -> Done:
        for name, value in {**registered.environment, **more}.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        capsys.readouterr()
        try:
            status = main(("models", *arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


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


@pytest.fixture
def registered(written: Path, tmp_path: Path) -> Registered:
    """A copy of the state folder of the module's fixture `written`, to change."""
    return Registered(Path(shutil.copytree(written, tmp_path / "state")))


@pytest.fixture
def models(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """`e2i models` in this process, with the state folder's environment."""
    yield models_command(registered, monkeypatch, capsys)
    settings.cache_clear()
