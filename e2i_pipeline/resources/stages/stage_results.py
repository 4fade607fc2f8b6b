"""Gathers what the stages left behind for one brand: references, stored audits, curves and pictures. Reads only.

What is made of it stands in `domain/report.py` (the model card) and `domain/run_report.py` (the report of a run).
"""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.evaluation import EvaluationDetail, EvaluationRef
from e2i_pipeline.contracts.references import (
    AttributionRef,
    DatasetRef,
    FeatureRegistryRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.contracts.training import ExperimentScope, TuningResult
from e2i_pipeline.resources.stages.gate import GateResource

if TYPE_CHECKING:
    from e2i_pipeline.domain.report_data import StageResults

SPLITS = ("train", "validation", "test")
"""Splits of the training dataset that are audited."""


def stage_results(
    gate: GateResource,
    source: str,
    dataset: DatasetRef,
    registry: FeatureRegistryRef,
    training: TrainingDatasetRef,
    scope: ExperimentScope,
    tuned: TuningResult,
    evaluation: EvaluationRef,
    version: ModelVersion,
    attribution: AttributionRef,
) -> "StageResults":
    """What the stages left behind, up to the attributions of the registered version.

    Args:
        gate: Keeps the audits.
        source: Kind of the source.
        dataset: The published dataset.
        registry: The feature registry.
        training: The modelling rows.
        scope: What is predicted.
        tuned: The study.
        evaluation: The evaluation; its file is read.
        version: The registered version.
        attribution: The attributions; picture and narrative beside them are read.
    """
    from e2i_pipeline.domain.report_data import SliceTable, StageResults

    stored = json.loads(Path(evaluation.location).read_text(encoding="utf-8"))
    # a reference that was stored and read back has lost its order
    tables = [dataset.tables[name] for name in TABLES if name in dataset.tables]
    audits = [gate.stored(table, others=tables) for table in tables]
    audits.append(gate.stored(training, SPLITS))
    found = [audit for audit in audits if audit is not None]
    docs = next((report.data_docs for reports, _ in found for report in reports if report.data_docs), "")
    return StageResults(
        source=source,
        dataset=dataset.model_copy(update={"tables": {table.name: table for table in tables}}),
        registry=registry,
        training=training,
        scope=scope,
        study=tuned,
        evaluation=evaluation,
        version=version,
        attribution=attribution,
        reports=tuple(report for reports, _ in found for report in reports),
        verdicts=tuple(verdict for _, verdict in found),
        curves=stored["curves"],
        slices={column: SliceTable.model_validate(table) for column, table in stored["slices"].items()},
        detail=EvaluationDetail.model_validate(stored.get("detail", {})),
        narrative=tuple(stored_narrative(attribution)),
        summary_plot=base64.b64encode(Path(attribution.plot).read_bytes()).decode(),
        places={"Data docs": docs} if docs else {},
    )


def stored_narrative(attribution: AttributionRef) -> list[str]:
    """The drivers in words, as the attribution stage kept them beside the values."""
    return json.loads(Path(attribution.location).with_name("narrative.json").read_text(encoding="utf-8"))
