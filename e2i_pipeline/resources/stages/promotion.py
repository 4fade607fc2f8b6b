"""What becomes of a trained model: its version in the registry, and the decision whether it serves.

How a decision is made stands in `domain/promotion.py`; this module fetches, calls and stores.
"""

import logging
from datetime import datetime

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.domain import promotion
from e2i_pipeline.domain.champions import PROMOTION, Move, Standing
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.comparison import ComparisonResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.stage_moves import DATASET_VERSION, MODEL_SHA256, StageMovesResource, told

EVALUATED, INFRASTRUCTURE = "e2i.evaluation", "e2i.infrastructure"
"""Tags of a version: what each gate's verdict on it says, `passed` or `failed`; absent while there is none."""

_CODE = (
    *(
        f"domain/{name}.py"
        for name in ("comparison", "delong", "metrics", "promotion", "regression_metrics", "small_cells")
    ),
    *("domain/calibration.py", "domain/small_cells.py", "resources/stages/comparison.py"),
)
"""What of our code decides a promotion, beside the verdicts."""

_log = logging.getLogger(__name__)


class PromotionResource(dg.ConfigurableResource):
    """Registers one brand's model, and promotes it where it earns it.

    Attributes:
        mlflow: Keeps the registry.
        metadata: Keeps the `ml_*` rows and the ledger.
        modelling: Reads the rows on which candidate and champion are compared.
        files: Keeps files of the training.
        moves: Moves versions, and knows who serves.
        stage: Stage that a promoted version gets.
        comparisons: Compares candidate and champion.
        margin: By how much a candidate must beat the champion, in AUC (regression: in R2).
        significance: Below which the p-value of the paired test must lie.
        dry_run: Whether promotion only says what it would do.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    moves: StageMovesResource
    comparisons: ComparisonResource
    stage: str
    margin: float
    significance: float
    dry_run: bool

    def register(
        self, trained: TrainedModelRef, evaluation: EvaluationRef, model_type: str, run_id: str, now: datetime
    ) -> ModelVersion:
        """Registers the model with its verdicts beside it, or finds the version that it has."""
        version = self.mlflow.register_model(
            brand=trained.brand,
            model_type=model_type,
            run_id=trained.mlflow_run_id,
            model_uri=trained.model_uri,
            training_key=trained.key,
            tags={
                EVALUATED: _word(evaluation.is_passed),
                **_scores(evaluation),
                MODEL_SHA256: trained.version,
                DATASET_VERSION: self.mlflow.param(trained.mlflow_run_id, "training_dataset"),
            },
            description=" ".join(evaluation.unmet) or "All success criteria are met.",
        )
        self.metadata.record_model(
            version,
            metrics=evaluation.metrics,
            fairness={f"{one.column}/{one.measure}": one.model_dump(mode="json") for one in evaluation.fairness},
            run_id=run_id,
            algorithm=trained.algorithm,
            registered_at=now,
        )
        return version

    def anchor_ledger(self, trained: TrainedModelRef) -> str:
        """Notes the ledger's head in MLflow, which is in use anyway; a failure is told and costs nothing.

        Returns:
            What came of it, in words. A head that MLflow did not take is covered by the next one that it takes.
        """
        head = self.metadata.ledger_head()
        if not head.sequence:
            return "nothing to anchor"
        try:
            noted = self.mlflow.anchor_ledger(trained.mlflow_run_id, head, self.metadata.holds_entry)
        except E2IError as err:
            missed = (
                f"degraded: MLflow at {self.mlflow.redacted()} did not take the ledger's entry {head.sequence} as its "
                f"anchor ({type(err).__name__}); the next training hands it on"
            )
            _log.warning("%s", missed)
            return missed
        return f"entry {noted.sequence}" if noted else "not moved: the ledger does not continue it"

    def told_in_ledger(self, name: str) -> str:
        """How the version that serves came to serve, in a sentence: by whom, when and why."""
        champion = self.metadata.standing(name).champion
        return champion.sentence if champion else "No version serves."

    def is_registered(self, version: ModelVersion) -> bool:
        """Whether the version is still in the registry and recorded; MLflow is not imported for its own file."""
        rows = self.metadata.rows("ml_model_registry", name=version.name, version=version.version)
        return bool(rows) and self.mlflow.has_version(version)

    def promote(
        self,
        dataset: TrainingDatasetRef,
        trained: TrainedModelRef,
        candidate: ModelVersion,
        evaluation: Verdict | None,
        infrastructure: Verdict | None,
        now: datetime,
        run_id: str = "",
        actor: str = "pipeline",
    ) -> PromotionRef:
        """Decides whether the candidate replaces the champion, and moves the stages accordingly.

        A version that was rolled back stays where it is: only a person promotes it again.

        Raises:
            PromotionBlocked: A verdict is missing, or the infrastructure gate failed.
        """
        for verdict in filter(None, (evaluation, infrastructure)):
            self.mlflow.note_version(candidate.name, candidate.version, verdict_tags(verdict))
        promotion.require_verdicts(candidate, evaluation, infrastructure)
        assert evaluation is not None and infrastructure is not None  # noqa: PT018, S101 - require_verdicts did
        with self.moves.turn(candidate.name):
            standing = self._standing(candidate.name, now)
            champion = self.mlflow.get_latest_model_version(candidate.name, (self.stage,))
            if held := standing.held_back(candidate.version):
                return told(candidate, champion, False, held)
            is_other = champion is not None and champion.version != candidate.version and evaluation.is_passed
            comparison = (
                self.comparisons.compare(dataset, trained, champion, run_id, now) if champion and is_other else None
            )
            decision = promotion.decide(candidate, evaluation, champion, comparison, self.margin, self.significance)
            is_new = decision.is_promoted and (champion is None or champion.version != candidate.version)
            if is_new and self.dry_run:
                return told(candidate, champion, False, f"Dry run, nothing was changed. {decision.reason}")
            if is_new:
                verdicts = {verdict.gate: verdict.key.digest for verdict in (evaluation, infrastructure)}
                facts = self.moves.facts(candidate, verdicts, ())
                move = self._move(candidate, standing, actor, decision.reason, now)
                champion = self.moves.move(move._replace(facts=facts), standing, run_id)
            return told(candidate, champion, decision.is_promoted, decision.reason)

    def _standing(self, name: str, now: datetime) -> Standing:
        """Who serves; a dry run completes nothing either."""
        return self.metadata.standing(name) if self.dry_run else self.moves.settle(name, now)

    def _move(self, candidate: ModelVersion, standing: Standing, actor: str, reason: str, now: datetime) -> Move:
        return Move(
            kind=PROMOTION,
            name=candidate.name,
            version=candidate.version,
            from_stage=candidate.stage,
            to_stage=self.stage,
            is_champion=True,
            champion_before=standing.version or "",
            actor=actor,
            is_person=False,
            reason=reason,
            at=now,
        )

    @property
    def rule(self) -> str:
        """What decides a promotion beside the verdicts and the data, for a content key."""
        return f"{self.stage}/{self.margin}/{self.significance}/{self.dry_run}/{code_version(*_CODE)}"

    def still_stands(self, candidate: ModelVersion, promotion: PromotionRef) -> bool:
        """Whether a decision is still what ledger, record and registry show: its champion serves."""
        held = self.metadata.standing(candidate.name).held_back(candidate.version)
        if held and promotion.reason != held:  # it was rolled back since
            return False
        return self.moves.is_settled(candidate.name, promotion.champion.version if promotion.champion else None)


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """A verdict as tags of the version that it is about."""
    name = INFRASTRUCTURE if verdict.gate == "infrastructure" else EVALUATED
    return {name: _word(verdict.is_passed)}


def _word(is_passed: bool) -> str:
    return "passed" if is_passed else "failed"


def _scores(evaluation: EvaluationRef) -> dict[str, str]:
    """The tag that says how good a version is on the test split."""
    name = "rmse" if evaluation.problem_type == "regression" else "auc"
    return {f"e2i.test_{name}": f"{evaluation.metrics['test'][name]:.4f}"}
