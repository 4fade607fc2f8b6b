"""Pictures: PNGs of the promised size, drawn without a display and without pyplot's global state."""

import struct
import subprocess
import sys
from pathlib import Path

from e2i_pipeline.domain import plots

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    assert png.startswith(PNG)
    return struct.unpack(">II", png[16:24])


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
