"""Audits files of treatment events with the product: `python -m benchmarks.wide_events.by_product FOLDER FILE ...`.

The first file is for warming up: imports and all that is made once are not measured. Prints JSON: per further file the
seconds and the counts.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.wide_events.expectations import AS_OF, LINES, SUITE, suite


def main(folder: Path, files: list[str]) -> list[dict[str, Any]]:
    from e2i_pipeline.resources.engine import EngineResource
    from e2i_pipeline.resources.great_expectations import GreatExpectationsResource

    (folder / "gx" / "expectations").mkdir(parents=True)
    (folder / "gx" / "expectations" / f"{SUITE}.json").write_text(json.dumps(suite()), encoding="utf-8")
    gx = GreatExpectationsResource(
        gx_root=str(folder / "gx"),
        data_docs="",
        min_pass_rate=0.95,
        block_on_failure=True,
        critical_expectations=[],
        default_suites={},
        engine=EngineResource(temp_dir=str(folder / "spilled")),
    )
    return [_audited(gx, file) for file in files][1:]


def _audited(gx: Any, file: str) -> dict[str, Any]:
    table = _table(file)
    began = time.perf_counter()
    report = gx.validate(table, SUITE, {"as_of": AS_OF})
    seconds = time.perf_counter() - began
    if report.having("error") or report.skipped or {o.engine for o in report.outcomes} != {"duckdb"}:
        raise SystemExit("The audit did not count all of the expectations with DuckDB.")
    answer = [
        [o.tested_rows, o.unexpected_rows] if line.tested else [o.status == "passed"]
        for line, o in zip(LINES, report.outcomes, strict=True)
    ]
    return {"seconds": seconds, "answer": answer}


def _table(file: str) -> Any:
    import duckdb

    from e2i_pipeline.contracts.references import ColumnInfo, TableRef

    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{file}')").fetchall()
        rows = connection.execute(f"SELECT count(*) FROM read_parquet('{file}')").fetchall()[0][0]
    columns = tuple(ColumnInfo(name=name, dtype=dtype) for name, dtype, *_ in described)
    return TableRef(key="bench", name="treatment_events", location=file, version="v", rows=rows, columns=columns)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
