"""The serving stage: packages, tries, deploys and scores, over BentoML, the registry and the engine.

What a Bento answers stands in `serving/`; this module fetches, calls and stores.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.model_files import ModelManifest
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import BentoRef, DeploymentRef, PredictionsRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.bentoml import BentoResource
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.promotion import verdict_tags
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Answer(NamedTuple):
    """What trying a Bento gave: the problem in words (empty where it answered), and figures to show."""

    problem: str
    metadata: dict[str, Any]


class DeploymentResource(dg.ConfigurableResource):
    """Serves one brand's champion.

    Attributes:
        bentoml: Builds and starts Bentos.
        mlflow: Knows the champion's files.
        metadata: Keeps the `ml_*` rows.
        modelling: Reads the modelling rows.
        files: Keeps the model's files.
        engine: Writes predictions.
        state_dir: The state folder.
        environment: `development`, `staging` or `production`.
    """

    bentoml: BentoResource
    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    engine: EngineResource
    state_dir: str
    environment: str

    def package(self, dataset: TrainingDatasetRef, trained: TrainedModelRef, version: ModelVersion) -> BentoRef:
        """Packages a registered version with a golden request of made-up rows, and one of them to try by hand."""
        from e2i_pipeline.domain.examples import example_rows

        frame, _ = self.modelling.frame(dataset, ["train"])
        rows = example_rows(frame, dataset.features)
        bento = self.bentoml.package_model(self.files.read(trained.location), version, rows, frame)
        golden = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))
        write_json(_request(bento), {"rows": golden["rows"][:1]})
        return bento

    @property
    def packaging(self) -> str:
        """What decides a Bento beside the model and its rows, for a content key."""
        return f"{self.bentoml.packaging}/{code_version('contracts', 'domain', 'serving', 'errors.py')}"

    def has(self, bento: BentoRef) -> bool:
        """Whether the Bento is still in its store, and its requests lie beside it."""
        return self.bentoml.has(bento.tag) and Path(bento.golden_request).is_file() and _request(bento).is_file()

    def has_answered(self, bento: BentoRef, verdict: Verdict | None) -> bool:
        """Whether a verdict says that this very Bento was seen to answer: since it was built, and it is still there."""
        if verdict is None or not verdict.is_passed or not self.has(bento):
            return False
        return verdict.decided_at >= self.bentoml.built_at(bento.tag)

    def try_golden_request(self, bento: BentoRef) -> Answer:
        """Starts the Bento in a process of its own and sends the golden request.

        Raises:
            ToolUnavailable: It did not come up in time: nothing is known about the Bento.
        """
        try:
            return Answer("", self.bentoml.answers_golden_request(bento))
        except ToolRejected as err:
            return Answer(str(err), {"problem": str(err)})

    def note_verdict(self, bento: BentoRef, verdict: Verdict) -> None:
        """Notes on the registered version inside a Bento whether it was seen to answer."""
        self.mlflow.note_version(bento.model_name, bento.model_version, verdict_tags(verdict))

    def as_it_stands(self, promotion: PromotionRef) -> PromotionRef:
        """The decision with the champion of now: a person may have moved the stages since it was made."""
        if not promotion.name:
            return promotion
        champion = self.metadata.champion(promotion.name)
        if champion is None or promotion.champion is None or champion.version != promotion.champion.version:
            return promotion.model_copy(update={"champion": champion})
        return promotion

    def deploy(self, promotion: PromotionRef, bento: BentoRef, run_id: str, now: datetime) -> DeploymentRef:
        """Deploys the champion's Bento: this one, or where its version was not promoted, the champion's own.

        Returns:
            What is deployed now.

        Raises:
            ToolRejected: The champion's Bento is in the store no more.
        """
        champion = promotion.champion
        if champion is None:
            return self.bentoml.current_deployment(bento.brand)
        is_champions = (champion.name, champion.version) == (bento.model_name, bento.model_version)
        deployed = self.bentoml.deploy(bento if is_champions else self.bentoml.built_for(champion))
        self.metadata.record_deployment(deployed, self.environment, run_id, model=champion, at=now)
        return deployed

    def is_deployed(self, deployed: DeploymentRef) -> bool:
        """Whether this is what is deployed for its brand; a Bento must still be in its store, and recorded."""
        if self.bentoml.current_deployment(deployed.brand) != deployed:
            return False
        if deployed.bento_tag is None:
            return True
        return self.bentoml.has(deployed.bento_tag) and bool(self.metadata.rows("ml_deployments", id=deployed.key))

    def score(self, key: str, dataset: TrainingDatasetRef, promotion: PromotionRef) -> PredictionsRef:
        """Scores the brand's journeys whose outcome is still open with the champion.

        Without a champion nothing is scored, and the table is absent.
        """
        champion = promotion.champion
        if champion is None:
            return PredictionsRef(
                key=key, name="batch_predictions", version="absent", is_absent=True, brand=dataset.brand
            )
        return self._score(key, dataset, champion)

    def _score(self, key: str, dataset: TrainingDatasetRef, champion: ModelVersion) -> PredictionsRef:
        import pyarrow as pa

        from e2i_pipeline.domain.algorithms import load_model

        model = load_model(self.mlflow.model_files(champion))
        frame, outcome = self.modelling.frame(dataset, ["unassigned"], ["patient_journey_id", "observation_date"])
        is_open = outcome != outcome
        frame = frame[is_open]
        scores = model.predict(frame)
        table = pa.table(
            {
                "patient_journey_id": pa.array(frame["patient_journey_id"].to_numpy(), pa.string()),
                "observation_date": pa.array(frame["observation_date"].to_numpy(), pa.timestamp("us")),
                **_score_columns(scores, model.manifest),
                "model_name": pa.array([champion.name] * len(frame), pa.string()),
                "model_version": pa.array([champion.version] * len(frame), pa.string()),
            }
        )
        with self.engine.connect() as connection:
            connection.register("scored", table)
            folder = f"{self.state_dir}/predictions/{dataset.brand}"
            written = self.engine.write(connection, "SELECT * FROM scored", folder, ("patient_journey_id",))
        return PredictionsRef(
            key=content_key(key, written.version),
            name="batch_predictions",
            location=written.location,
            version=written.version,
            rows=written.rows,
            columns=written.columns,
            brand=dataset.brand,
            model_name=champion.name,
            model_version=champion.version,
        )


def _score_columns(scores: "np.ndarray", manifest: ModelManifest) -> "dict[str, pa.Array]":
    """The columns that say what the model answered: a probability and whether it is flagged, or an expected value."""
    import pyarrow as pa

    if manifest.problem_type == "regression":
        return {"value": pa.array(scores, pa.float64())}
    cut = manifest.threshold
    is_flagged = pa.nulls(len(scores), pa.bool_()) if cut is None else pa.array(scores >= cut, pa.bool_())
    return {"probability": pa.array(scores, pa.float64()), "is_flagged": is_flagged}


def _request(bento: BentoRef) -> Path:
    """A request to try by hand, beside the golden one."""
    return Path(bento.golden_request).with_name("request.json")
