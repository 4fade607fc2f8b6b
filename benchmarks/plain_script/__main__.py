"""The program, in the order of the graph. At its end it writes `answer.json`, with its time and that of its stages.

What Dagster has imported when it starts a run is imported before the clock starts here too, and Python looks for
garbage as seldom as in the product.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import alembic.config  # noqa: F401 - Dagster's, as the following three
import jinja2  # noqa: F401
import pydantic  # noqa: F401
import sqlalchemy  # noqa: F401
import yaml  # noqa: F401

gc.freeze()
gc.set_threshold(50_000, 20, 50)
_BEGAN = time.perf_counter()

from benchmarks.plain_script import audits, data, evaluation, feature_store, serving, study, tracking  # noqa: E402 - the tools count


def main(folder: Path, brand: str, journeys: int) -> None:
    """Goes from the source to scored open journeys.

    Args:
        folder: An empty folder for all that is made.
        brand: The brand to learn.
        journeys: Journeys per brand in the generated source.
    """
    stages = _Stages()
    chosen = data.configuration()
    with data.connected(folder) as connection:
        audit = audits.Audits(connection, chosen, folder)
        tables = stages.timed("land", data.land, connection, chosen, journeys, folder)
        audited = stages.timed("audit the tables", audit.of_tables, tables)
        splits = stages.timed("split", data.split, connection, chosen, tables, folder)
        views = stages.timed("features", data.features, connection, chosen, tables, folder)
        store = stages.timed("apply to Feast", feature_store.apply, views, chosen, folder)
        online = stages.timed("fill the online store", feature_store.fill, store, connection, views, splits.as_of)
        rows = data.brand_rows(connection, chosen, tables, splits, brand)
        frame = stages.timed("join features", feature_store.training_frame, store, rows, views, chosen)
        table = stages.timed("keep the training dataset", data.keep_training, connection, frame, splits, folder)
        audited |= stages.timed("audit the splits", audit.of_splits, table)
        stages.timed("build the data docs", audit.build_docs)
    modelling = study.Modelling(table.location, views.features, chosen, brand)
    stages.timed("audit for leakage", modelling.require_no_leakage)
    with tracking.tracked_run(folder, brand):
        found = stages.timed("study", modelling.study, folder)
        stages.timed("log the study", tracking.log_study, found)
        model = stages.timed("fit", modelling.fit, found)
        uri = stages.timed("log the model", tracking.log_model, model, modelling.examples(2).head(1), folder)
        metrics = stages.timed("evaluate", evaluation.evaluate, model, modelling)
        version = stages.timed("register", tracking.register, uri, brand, metrics)
        importance = stages.timed("explain", evaluation.explain, model, modelling)
    tag = stages.timed("package", serving.package, model, brand, version, folder)
    stages.timed("golden request", serving.answer_golden_request, tag, model, modelling.examples(8), folder)
    stages.timed("promote", tracking.promote, brand, version)
    scored = stages.timed("score", evaluation.score_open, tracking.model_files(brand), modelling, folder)
    answer = {
        "study": {"algorithm": found.algorithm, "parameters": found.parameters, "best value": found.best_value},
        "trials": found.trials,
        "metrics": metrics,
        "importance": importance,
        "expectations passed": audited,
        "splits": frame["data_split"].value_counts().sort_index().to_dict(),
        "online rows": online,
        "predictions": scored,
    }
    _write(folder / "answer.json", {"answer": answer, "stages": stages.seconds})


class _Stages:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments)
        finally:
            self.seconds[name] = round(time.perf_counter() - began, 3)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps({**content, "seconds": time.perf_counter() - _BEGAN}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
