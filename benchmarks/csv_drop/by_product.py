"""Lands CSV files with the product: `python -m benchmarks.csv_drop.by_product FOLDER DROP ...`.

The first drop is for warming up: imports and all that is made once are not measured. Prints JSON: the seconds over the
tables of the last drop, and the rows of each.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.frame.product import PSEUDONYM_KEY


def main(folder: Path, drops: list[Path]) -> dict[str, Any]:
    os.environ["E2I_PSEUDONYM_KEY"] = PSEUDONYM_KEY
    answers = [_landed(folder / str(number), drop) for number, drop in enumerate(drops)]
    return answers[-1]


def _landed(state: Path, drop: Path) -> dict[str, Any]:
    from e2i_pipeline.config.loader import load_settings
    from e2i_pipeline.contracts.tables import TABLES
    from e2i_pipeline.defs.resources import build_resources

    chosen = {"E2I_STATE_DIR": str(state), "E2I_DATA": str(drop), "E2I__SOURCE__KIND": "files"}
    source: Any = build_resources(load_settings({**chosen, "E2I_PSEUDONYM_KEY": PSEUDONYM_KEY}))["source"]
    began = time.perf_counter()
    rows = {name: source.stage(name, now=datetime.now(UTC)).rows for name in TABLES}
    return {"seconds": time.perf_counter() - began, "answer": rows}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), [Path(drop) for drop in sys.argv[2:]])))
