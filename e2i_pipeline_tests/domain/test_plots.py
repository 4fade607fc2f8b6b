"""Pictures: PNGs of the promised size, drawn without a display and without pyplot's global state."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from e2i_pipeline.domain import metrics, plots

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    assert png.startswith(PNG)
    return struct.unpack(">II", png[16:24])


def curves(rows: int = 400) -> dict[str, dict[str, list[float]]]:
    rng = np.random.default_rng(5)
    scores = rng.random(rows)
    return metrics.curves(rng.random(rows) < scores, scores)


def test_evaluation_has_four_curves_in_one_picture() -> None:
    drawn = plots.evaluation_plots(curves())

    assert list(drawn) == ["curves"]
    assert size_of(drawn["curves"]) == (1100, 290)
    assert len(drawn["curves"]) < 200_000  # it goes into the event log, inline


def test_another_model_looks_different() -> None:
    assert plots.evaluation_plots(curves(400)) != plots.evaluation_plots(curves(300))


def test_history_takes_any_number_of_trials_and_algorithms() -> None:
    both = [(0, 0.7, "xgboost"), (1, 0.72, "logistic_regression"), (2, 0.71, "xgboost")]

    assert size_of(plots.study_history(both)) == (600, 290)
    assert size_of(plots.study_history(both[:1])) == (600, 290)
    assert plots.study_history(both) != plots.study_history(both[:2])


def test_no_display_and_no_pyplot_are_needed() -> None:
    code = (
        "import sys; from e2i_pipeline.domain import plots; "
        "plots.study_history([(0, 0.7, 'xgboost')]); sys.exit('matplotlib.pyplot' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=Path(__file__).parents[2])  # noqa: S603

    assert done.returncode == 0, done.stderr.decode()
