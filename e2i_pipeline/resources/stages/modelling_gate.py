"""The gate before everything that learns from, decides by or scores the rows of a training dataset.

A training dataset is current as soon as it is written, so a run that failed its checks has left it to the next one,
which may select any step behind it. Each of these steps asks here first.
"""

from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.modelling import ModellingResource


def require_gated(dataset: TrainingDatasetRef, gate: GateResource, modelling: ModellingResource) -> None:
    """Refuses rows that have no passing verdict under the present suite, or that leak, whatever a run before did.

    Args:
        dataset: The training dataset.
        gate: Keeps the verdicts.
        modelling: Audits leakage; the same rows once.

    Raises:
        LeakageFound: With all findings.
        QCGateBlockedError: No verdict, or a failing one.
    """
    modelling.require_no_leakage(dataset)  # first: no override helps against a leak, so none is offered
    gate.require([dataset])
