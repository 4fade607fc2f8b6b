"""Stages the table with the product: `python -m benchmarks.postgres_events.by_product URL FOLDER`.

A small table comes first, which imports what is needed. Prints JSON: the seconds and the rows.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def main(url: str, folder: Path) -> dict[str, Any]:
    _staged(url, folder / "warm", "warm_up")
    began = time.perf_counter()
    rows = _staged(url, folder / "state", "large")
    return {"seconds": time.perf_counter() - began, "answer": rows}


def _staged(url: str, state: Path, schema: str) -> int:
    from e2i_pipeline.resources.engine import EngineResource
    from e2i_pipeline.resources.sources import SourceResource

    source = SourceResource(
        kind="postgres",
        state_dir=str(state),
        brands=["Kisqali"],
        cohort={"unit": "patient", "outcome_window_days": 180},
        known_at={"kind": "observed", "days": 0, "baseline_lag_days": 0},
        absent={"tables": [], "columns": {}},
        options={"schema": schema},
        url=url,
        engine=EngineResource(temp_dir=str(state / "spilled")),
    )
    return source.stage("treatment_events", datetime.now(UTC)).rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
