"""Lands the four tables as the product does: `python -m benchmarks.gate_tables.landing FOLDER FILE JOURNEYS`.

FILE is where their references are written.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.frame.product import PSEUDONYM_KEY


def main(folder: Path, file: Path, journeys: int) -> None:
    from e2i_pipeline.config.loader import load_settings
    from e2i_pipeline.contracts.tables import TABLES
    from e2i_pipeline.defs.resources import build_resources

    brands = len(load_settings({}).brands)
    os.environ["E2I_PSEUDONYM_KEY"] = PSEUDONYM_KEY
    chosen = {
        "E2I_STATE_DIR": str(folder),
        "E2I_PSEUDONYM_KEY": PSEUDONYM_KEY,
        "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": str(-(-journeys // brands)),
    }
    source = build_resources(load_settings(chosen))["source"]
    landed = [source.stage(name, now=datetime.now(UTC)).model_dump(mode="json") for name in TABLES]  # pyright: ignore
    file.write_text(json.dumps(landed), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
