"""What an evaluation was made by, as one hash: its settings and its code. An earlier verdict under another is none."""

from collections.abc import Mapping
from typing import Any

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key

_CODE = (
    *(f"domain/{name}.py" for name in ("behaviour", "bootstrap", "calibration", "comparison", "criteria", "delong")),
    *(f"domain/{name}.py" for name in ("decision_curve", "evaluation_gate", "evaluation_plots", "fairness")),
    *(f"domain/{name}.py" for name in ("judgement", "metrics", "plots", "promotion", "slices", "small_cells")),
    *("domain/regression_judgement.py", "domain/regression_metrics.py"),
    "contracts/evaluation.py",
    *(f"resources/stages/{name}.py" for name in ("comparison", "evaluation", "sealed_test", "test_scores")),
)
"""What of our code decides what an evaluation says."""


def evaluation_rule(settings: Mapping[str, Any]) -> str:
    """The hash.

    Args:
        settings: Everything that is configured about an evaluation.
    """
    return content_key(settings, code_version(*_CODE))
