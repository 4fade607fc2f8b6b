"""What becomes of a trained model: its version in the registry, and the decision whether it serves.

How a decision is made stands in `domain/promotion.py`; this module fetches, calls and stores.
"""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import (
    EvaluationRef,
    ModelVersion,
    PromotionRef,
    TrainedModelRef,
    TrainingDatasetRef,
)
from e2i_pipeline.domain import promotion
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource

if TYPE_CHECKING:
    from e2i_pipeline.domain.algorithms import ScoringModel

_log = logging.getLogger(__name__)


class PromotionResource(dg.ConfigurableResource):
    """Registers one brand's model, and promotes it where it earns it.

    Attributes:
        mlflow: Keeps the registry.
        metadata: Keeps the `ml_*` rows and the ledger.
        modelling: Reads the rows on which candidate and champion are compared.
        files: Keeps files of the training.
        stage: Stage that a promoted version gets.
        margin: By how much a candidate must beat the champion, in AUC.
        dry_run: Whether promotion only says what it would do.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    stage: str
    margin: float
    dry_run: bool

    def register(
        self, trained: TrainedModelRef, evaluation: EvaluationRef, model_type: str, run_id: str, now: datetime
    ) -> ModelVersion:
        """Registers the model with its verdict beside it, or finds the version that it has."""
        version = self.mlflow.register_model(
            brand=trained.brand,
            model_type=model_type,
            run_id=trained.mlflow_run_id,
            model_uri=trained.model_uri,
            training_key=trained.key,
            tags={
                "e2i.meets_success_criteria": str(evaluation.is_passed).lower(),
                "e2i.test_auc": f"{evaluation.metrics['test']['auc']:.4f}",
            },
            description=" ".join(evaluation.unmet) or "All success criteria are met.",
        )
        self.metadata.record_model(
            version,
            metrics=evaluation.metrics,
            fairness={},
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
    ) -> PromotionRef:
        """Decides whether the candidate replaces the champion, and moves the stages accordingly.

        Raises:
            PromotionBlocked: A verdict is missing, or the infrastructure gate failed.
        """
        promotion.require_verdicts(candidate, evaluation, infrastructure)
        assert evaluation is not None  # noqa: S101 - require_verdicts has refused it
        champion = self.mlflow.get_latest_model_version(candidate.name, (self.stage,))
        ours, theirs = self._compare(dataset, trained, champion)
        decision = promotion.decide(candidate, evaluation, champion, ours, theirs, self.margin)
        is_new = decision.is_promoted and (champion is None or champion.version != candidate.version)
        if decision.is_promoted and not self.dry_run:
            # For the champion of today it completes what a killed process began, and changes nothing otherwise.
            champion = self.mlflow.transition_model_stage(candidate.name, candidate.version, self.stage)
        if champion is not None and champion.version == candidate.version and not self.dry_run:
            self._record_champion(champion, now)
        reason = f"{'Dry run, nothing was changed. ' if is_new and self.dry_run else ''}{decision.reason}"
        return PromotionRef(
            key=content_key(candidate, champion, decision.is_promoted, reason),
            brand=dataset.brand,
            is_promoted=decision.is_promoted and not (is_new and self.dry_run),
            reason=reason,
            champion=champion,
        )

    @property
    def rule(self) -> str:
        """What decides a promotion beside the verdicts and the data, for a content key."""
        code = code_version("domain/promotion.py", "domain/metrics.py")
        return f"{self.stage}/{self.margin}/{self.dry_run}/{code}"

    def still_stands(self, candidate: ModelVersion, promotion: PromotionRef) -> bool:
        """Whether a decision is still what the registry shows: its champion serves, and is recorded as serving."""
        champion = promotion.champion.version if promotion.champion else None
        if self.mlflow.holder(candidate.name, self.stage) != champion:
            return False
        return champion != candidate.version or self._recorded_champion(candidate.name) == champion

    def _record_champion(self, champion: ModelVersion, now: datetime) -> None:
        """Records who serves; a process that was killed after the registry's move may have left that undone."""
        if self._recorded_champion(champion.name) != champion.version:
            self.metadata.set_stage(champion.name, champion.version, champion.stage, is_champion=True, at=now)

    def _recorded_champion(self, name: str) -> str | None:
        recorded = self.metadata.champion(name)
        return recorded.version if recorded else None

    def _compare(
        self, dataset: TrainingDatasetRef, trained: TrainedModelRef, champion: ModelVersion | None
    ) -> tuple[float, float | None]:
        """AUC of candidate and champion on the same test rows; the champion's is None where it cannot score them."""
        from e2i_pipeline.domain import metrics
        from e2i_pipeline.domain.algorithms import load_model

        frame, outcome = self.modelling.frame(dataset, ["test"])
        ours = metrics.auc(outcome, self.files.load(trained.location).predict(frame))
        if champion is None:
            return ours, None
        try:
            theirs: ScoringModel = load_model(self.mlflow.model_files(champion))
            return ours, metrics.auc(outcome, theirs.predict(frame))
        except E2IError:
            return ours, None
