"""Audits landed tables with the gate: `python -m benchmarks.gate_tables.by_gate FOLDER WARM_UP FILE`.

The tables of WARM_UP come first: imports and all that is made once are not measured. Prints the seconds and, per table,
its rows.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def main(folder: Path, warm_up: Path, file: Path) -> dict[str, Any]:
    gate = _gate(folder)
    _audited(gate, warm_up)
    began = time.perf_counter()
    answer = _audited(gate, file)
    return {"seconds": time.perf_counter() - began, "answer": answer}


def _gate(folder: Path) -> Any:
    """The product's gate with its own settings, without data docs."""
    from e2i_pipeline.config.loader import load_settings
    from e2i_pipeline.defs.resources import build_resources
    from e2i_pipeline.resources.metadata import MetadataResource

    gate: Any = build_resources(load_settings({"E2I_STATE_DIR": str(folder)}))["gate"]
    metadata = MetadataResource(url=f"sqlite:///{folder}/metadata.db", lock_dir=str(folder / "locks"))
    gx = gate.great_expectations.model_copy(update={"data_docs": ""})
    return gate.model_copy(update={"great_expectations": gx, "metadata": metadata})


def _audited(gate: Any, file: Path) -> dict[str, int]:
    from e2i_pipeline.contracts.references import TableRef

    tables = [TableRef.model_validate(one) for one in json.loads(file.read_text(encoding="utf-8"))]
    for table in tables:
        reports, verdict = gate.audit(table, run_id="bench", now=datetime.now(UTC), others=tables)
        if not verdict.is_passed or not reports[0].passed:
            raise SystemExit(f"The gate refused {table.name}: {'; '.join(verdict.reasons)}")
    return {table.name: table.rows for table in tables}


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
