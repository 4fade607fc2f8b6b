"""The causal stage: protocol, overlap, effect, its evaluation and its refutation for one brand.

What is computed stands in `domain/causal`; this module fetches, calls and stores.
"""

import io
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.causal import (
    CausalFinding,
    EffectEvaluationRef,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.contracts.references import DatasetRef, TrainingDatasetRef
from e2i_pipeline.contracts.tables import SUPERSEDED_AT
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.engine import EngineResource, parquet, quoted, timestamp
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline.serving.effect import EFFECT_FILE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from e2i_pipeline.domain.causal.design import EffectData
    from e2i_pipeline.domain.causal.evaluation import Evaluation
    from e2i_pipeline.domain.causal.nuisance import NuisanceSpec
    from e2i_pipeline.domain.causal.overlap_report import OverlapReport

EFFECT = "effect"
"""Name of the gate, in verdicts and in the ledger."""

_SEALED = "'test', 'holdout'"  # their outcomes are read to judge models, and by nothing else
_ROWS, _TABLE, _CANDIDATES, _REFERENCE = (
    "rows.parquet",
    "evaluation.parquet",
    "candidates.json",
    "reference.json",
)


class CausalResource(dg.ConfigurableResource):
    """Estimates, judges and attacks one brand's effect.

    Attributes:
        engine: Reads the rows.
        files: Keeps the files of the stage.
        metadata: Keeps the verdict.
        chosen: The settings (`CausalSettings`).
        seed: Seed of everything random.
        threads: Threads of a fit; changes no result.
    """

    engine: EngineResource
    files: ModelFilesResource
    metadata: MetadataResource
    chosen: dict[str, Any]
    seed: int
    threads: int

    @property
    def code(self) -> str:
        """What of our code decides the stage's results."""
        return code_version("domain/causal", "domain/encoding.py", "domain/learners", "resources/stages/causal.py")

    def protocol(self, dataset: TrainingDatasetRef, scope: ExperimentScope) -> TargetTrialProtocol:
        """The target trial of a brand.

        Raises:
            ConfigurationError: It does not fit the modelling rows, or contradicts itself.
        """
        from e2i_pipeline.domain.causal.protocol import target_trial

        names = ("treatment", "treatment_kind", "is_randomized", "confounders", "modifiers", "cuts")
        rest = ("negative_controls", "folds", "split_by", "cost")
        return target_trial(dataset, scope, **{name: self.chosen[name] for name in (*names, *rest)}, seed=self.seed)

    def seen_after_time_zero(self, dataset: TrainingDatasetRef, published: DatasetRef) -> tuple[int, int]:
        """Rows whose covariates are of a moment after the index date, and rows looked at."""
        journeys = published.tables["patient_journeys"]
        query = f"""
            SELECT count(*) FILTER (r.observation_date > CAST(j.journey_start_date AS TIMESTAMP)), count(*)
            FROM {parquet(dataset.location)} r JOIN ({self._journeys(journeys, published)}) j
            USING (patient_journey_id)
        """
        with self.engine.connect() as connection:
            late, rows = connection.execute(query).fetchall()[0]
        return int(late), int(rows)

    def overlap_key(self, protocol: TargetTrialProtocol) -> str:
        """What decides the overlap."""
        return content_key(protocol.key, self.chosen["nuisance"], self.chosen["overlap"], self.code)

    def overlap(
        self, key: str, protocol: TargetTrialProtocol, dataset: TrainingDatasetRef
    ) -> "tuple[OverlapRef, OverlapReport, bytes]":
        """Who can be compared with whom.

        Returns:
            The reference, the report, and a picture as PNG.
        """
        from e2i_pipeline.domain.causal.effect_plots import overlap_plot
        from e2i_pipeline.domain.causal.nuisance import cross_fitted
        from e2i_pipeline.domain.causal.overlap_report import OverlapRules, assess_overlap

        data = self._data(protocol, dataset)
        chance = protocol.is_randomized
        nuisance = cross_fitted(data, self._spec(), protocol.treatment_kind, protocol.outcome_kind, chance)
        rules = self.chosen["overlap"]
        report = assess_overlap(data, nuisance, protocol, OverlapRules(**rules))
        picture = overlap_plot(
            data.treatment, nuisance.treatment, report.is_kept, report.balance, protocol.treatment_kind == "binary"
        )
        rows = {
            "patient_journey_id": data.frame["patient_journey_id"].to_numpy(),
            "fold": data.fold,
            "expected_treatment": nuisance.treatment,
            "treatment_variance": nuisance.variance,
            "weight": report.weight,
            "is_kept": report.is_kept,
        }
        kept = {_ROWS: _parquet(rows)}
        folder, _ = self.files.keep("overlaps", protocol.brand, key, {**kept, "overlap.png": picture})
        whole = report.slices[0]
        reference = OverlapRef(
            key=key,
            brand=protocol.brand,
            location=str(folder / _ROWS),
            version=files_sha256(kept),
            rows=len(data.outcome),
            kept=int(report.is_kept.sum()),
            effective_rows=whole.effective * float(report.is_kept.sum()),
            findings=report.findings,
        )
        return reference, report, picture

    def model_key(self, protocol: TargetTrialProtocol, overlap: OverlapRef) -> str:
        """What decides the effect model."""
        chosen = (self.chosen["nuisance"], self.chosen["estimators"], self.chosen["forest"])
        return content_key(protocol.key, overlap.version, chosen, self.code)

    def fit(
        self, key: str, protocol: TargetTrialProtocol, dataset: TrainingDatasetRef, overlap: OverlapRef
    ) -> EffectModelRef:
        """Fits the estimators on the fit fold, chooses on the validation fold, predicts the evaluation fold.

        Raises:
            ConfigurationError: An estimator does not fit the protocol, or EconML is not installed.
        """
        from e2i_pipeline.domain.causal import design, estimators
        from e2i_pipeline.domain.causal.effect_table import effect_table
        from e2i_pipeline.domain.causal.nuisance import nuisance_on

        estimators.require_econml()
        began, spec = time.monotonic(), self._spec()
        kept = self._kept(protocol, dataset, overlap)
        learn, held_out, judged = (kept.in_fold(f) for f in (design.FIT, design.VALIDATION, design.EVALUATION))
        forest = estimators.ForestSpec(**self.chosen["forest"], threads=self.threads)
        average = estimators.average_effect(learn, protocol, spec)
        fitted = estimators.fit_effects(learn, protocol, self.chosen["estimators"], spec, forest)
        scores = estimators.r_scores(fitted, held_out, protocol, spec)
        best = _best(scores, [one.name for one in fitted])
        served = _best(scores, [one.name for one in fitted if one.linear is not None])
        by_name = {one.name: one for one in fitted}
        nuisance = nuisance_on(
            learn, judged, spec, protocol.treatment_kind, protocol.outcome_kind, protocol.is_randomized
        )
        line = by_name[served].linear if served else None
        supported = _supported(line, judged)
        table = effect_table(judged, by_name[best].effects(judged), nuisance, supported, protocol)
        files = {
            _TABLE: _parquet({str(name): table[name].to_numpy() for name in table}),
            _CANDIDATES: json.dumps(scores, sort_keys=True).encode(),
            _REFERENCE: json.dumps(by_name[best].effects(learn).value.tolist()).encode(),
        }
        if line is not None:
            files[EFFECT_FILE] = line.model_dump_json(indent=1).encode()
        folder, version = self.files.keep("effects", protocol.brand, key, files)
        return EffectModelRef(
            key=key,
            brand=protocol.brand,
            location=str(folder),
            version=version,
            estimator=best,
            served=served,
            scores=scores,
            average=average,
            seconds=time.monotonic() - began,
        )

    def evaluate(
        self, key: str, protocol: TargetTrialProtocol, model: EffectModelRef
    ) -> "tuple[EffectEvaluationRef, Evaluation, bytes]":
        """Judges the effect by its table alone.

        Returns:
            The reference, all figures, and a picture as PNG.
        """
        import numpy as np

        from e2i_pipeline.domain.causal.effect_plots import effect_plot
        from e2i_pipeline.domain.causal.evaluation import as_json, evaluate_effect

        folder = Path(model.location)
        table = self.engine.read_pandas(str(folder / _TABLE))
        reference = np.array(json.loads((folder / _REFERENCE).read_text(encoding="utf-8")))
        found = evaluate_effect(table, protocol, model.average, reference)
        png = effect_plot(found)
        content = {"evaluation.json": json.dumps(as_json(found), indent=1, sort_keys=True).encode()}
        place, _ = self.files.keep("effect_evaluations", protocol.brand, key, {**content, "effects.png": png})
        kept = EffectEvaluationRef(
            key=key,
            brand=protocol.brand,
            location=str(place / "evaluation.json"),
            version=files_sha256(content),
            average=found.average,
            segments=found.segments,
            suppressed=found.suppressed,
            ranking=found.ranking,
            uplift=found.uplift,
            policies=found.policies,
            findings=found.findings,
        )
        return kept, found, png

    def refute(
        self,
        key: str,
        protocol: TargetTrialProtocol,
        dataset: TrainingDatasetRef,
        published: DatasetRef,
        overlap: OverlapRef,
        model: EffectModelRef,
        evaluation: EffectEvaluationRef,
        run_id: str,
        now: datetime,
    ) -> RefutationRef:
        """Attacks the effect on the rows that it was fitted on, and stores the gate's answer over the whole stage."""
        from e2i_pipeline.domain.causal import design
        from e2i_pipeline.domain.causal.refutation import Attack, refute

        learn = self._kept(protocol, dataset, overlap).in_fold(design.FIT)
        controls = self._controls(protocol, published, learn)
        attack = Attack(**self.chosen["refutation"])
        findings = tuple(refute(learn, model.average, protocol, self._spec(), attack, controls))
        every = (*overlap.findings, *evaluation.findings, *findings)
        reasons, warnings = _told(every, blocks=True), _told(every, blocks=False)
        content = json.dumps([f.model_dump() for f in every], indent=1).encode()
        place, version = self.files.keep("refutations", protocol.brand, key, {"findings.json": content})
        verdict = Verdict(
            key=self._verdict_key(model.brand, model.version),
            gate=EFFECT,
            is_passed=not reasons,
            reasons=reasons,
            warnings=warnings,
            decided_at=now,
            run_id=run_id,
        )
        self.metadata.record_verdict(verdict, {"rules": len(every), "broken": sum(not f.holds for f in every)})
        return RefutationRef(
            key=key,
            brand=protocol.brand,
            location=str(place / "findings.json"),
            version=version,
            findings=findings,
            is_passed=not reasons,
            reasons=reasons,
            warnings=warnings,
        )

    def pictures(self, overlap: OverlapRef, evaluation: EffectEvaluationRef) -> dict[str, bytes]:
        """The pictures that the stage has drawn, as PNG by name."""
        return {
            "overlap": Path(overlap.location).with_name("overlap.png").read_bytes(),
            "effects": Path(evaluation.location).with_name("effects.png").read_bytes(),
        }

    def verdict_of(self, model: EffectModelRef) -> Verdict | None:
        """The stored verdict on an effect; None where it was not attacked yet."""
        return self.verdict_on(model.brand, model.version)

    def verdict_on(self, brand: str, version: str) -> Verdict | None:
        """The stored verdict, under the rules of now, on the effect of a brand with this SHA-256 over its files."""
        return self.metadata.verdict(self._verdict_key(brand, version))

    def _verdict_key(self, brand: str, version: str) -> VerdictKey:
        rules = content_key(self.chosen["refutation"], self.chosen["negative_controls"], self.code)
        return VerdictKey(subject=f"effect/{brand}", data_version=version, suite_hash=rules, gate_hash=EFFECT)

    def _spec(self) -> "NuisanceSpec":
        from e2i_pipeline.domain.algorithms import algorithm, check_parameters
        from e2i_pipeline.domain.causal.nuisance import NuisanceSpec

        nuisance = self.chosen["nuisance"]
        check_parameters(algorithm(nuisance["algorithm"]), nuisance["parameters"])
        return NuisanceSpec(**nuisance, seed=self.seed, threads=self.threads)

    def _data(self, protocol: TargetTrialProtocol, dataset: TrainingDatasetRef) -> "EffectData":
        from e2i_pipeline.domain.causal.design import effect_data

        wanted = ["patient_journey_id", "patient_id", *(["hcp_id"] if dataset.has("hcp_id") else []), "target"]
        columns = [*wanted, protocol.treatment, *(f.name for f in protocol.confounders)]
        where = f"target IS NOT NULL AND data_split NOT IN ({_SEALED})"
        frame = self.engine.read_pandas(dataset.location, list(dict.fromkeys(columns)), where)
        return effect_data(frame.sort_values("patient_journey_id", ignore_index=True), protocol)

    def _kept(self, protocol: TargetTrialProtocol, dataset: TrainingDatasetRef, overlap: OverlapRef) -> "EffectData":
        from e2i_pipeline.domain.causal.design import require_comparable

        data = self._data(protocol, dataset)
        rows = self.engine.read_pandas(overlap.location, ["patient_journey_id", "is_kept"])
        is_kept = data.frame[["patient_journey_id"]].merge(rows, how="left")["is_kept"]
        return require_comparable(data.of(is_kept.to_numpy(dtype=bool)), protocol)

    def _controls(
        self, protocol: TargetTrialProtocol, published: DatasetRef, data: "EffectData"
    ) -> "dict[str, np.ndarray]":
        """Negative controls of these rows, as the published journeys have them.

        Raises:
            ConfigurationError: The journeys have no such column.
        """
        import numpy as np

        journeys = published.tables["patient_journeys"]
        if missing := [name for name in protocol.negative_controls if not journeys.has(name)]:
            raise ConfigurationError(
                f"causal.negative_controls: patient_journeys of {protocol.brand} has no column {', '.join(missing)}. "
                "Deliver it; where it was configured after the source was landed, materialize patient_journeys again."
            )
        if not protocol.negative_controls:
            return {}
        columns = ", ".join(quoted(name) for name in protocol.negative_controls)
        query = f"SELECT patient_journey_id, {columns} FROM ({self._journeys(journeys, published)})"
        with self.engine.connect() as connection:
            found: pd.DataFrame = connection.execute(query).df()
        here = data.frame[["patient_journey_id"]].merge(found, how="left")
        return {n: here[n].to_numpy(dtype=np.float64, na_value=np.nan) for n in protocol.negative_controls}

    def _journeys(self, journeys: Any, published: DatasetRef) -> str:
        moment = timestamp(published.as_of)
        return cohorts.as_of_view_sql(parquet(journeys.location), moment, journeys.has(SUPERSEDED_AT))


def _told(findings: Sequence[CausalFinding], *, blocks: bool) -> tuple[str, ...]:
    """What does not hold, one sentence each."""
    return tuple(f"{f.name}: {f.rule} Found: {f.observed}." for f in findings if not f.holds and f.blocks == blocks)


def _best(scores: Mapping[str, float], names: Sequence[str]) -> str:
    """The highest R-score, of equals the first as configured; empty where there is none."""
    return max(names, key=lambda name: scores[name]) if names else ""


def _supported(line: Any, data: "EffectData") -> "np.ndarray":
    import numpy as np

    if line is None or data.modifiers is None:
        return np.ones(len(data.outcome), dtype=bool)
    return line.is_supported(data.modifiers)


def _parquet(columns: "Mapping[str, np.ndarray]") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()
