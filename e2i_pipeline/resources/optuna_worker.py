"""A further worker of a study: `python -m e2i_pipeline.resources.optuna_worker`, started by `optuna_workers`.

Its order comes by standard input: a line of JSON, then the rows of train and validation as Arrow streams, so that no
file with patients' rows is left behind by a kill. The address of the storage, which may hold a password, comes by
environment. The input stays open for as long as whoever started it lives; with its end the worker ends at once, since
nobody waits for what it does.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.encoding import raw_features

if TYPE_CHECKING:
    from e2i_pipeline.domain.tuning import Split
    from e2i_pipeline.resources.optuna_study import Rules

STORAGE = "E2I_STUDY_STORAGE"
"""Environment variable with the address of the storage."""

OUTCOME = "e2i:outcome"
"""Column of the outcomes beside the features."""


def write_order(
    file: BinaryIO,
    rules: "Rules",
    search_space: Mapping[str, Mapping[str, Any]],
    features: Sequence[FeatureSpec],
    tuning: Mapping[str, Any],
    cores: int,
    train: "Split",
    validation: "Split",
) -> None:
    """Writes what a worker is to do.

    Args:
        file: Its standard input.
        rules: How the study searches.
        search_space: Per algorithm: parameter to its form in the search-space language.
        features: The features, in order.
        tuning: Further arguments of `Tuning`.
        cores: Cores of all workers of this machine.
        train: Rows and outcomes to learn from.
        validation: Rows and outcomes to judge by.
    """
    import pyarrow as pa

    order = {
        "rules": rules._asdict(),
        "search_space": search_space,
        "features": [feature.model_dump(mode="json") for feature in features],
        "tuning": tuning,
        "cores": cores,
    }
    file.write(json.dumps(order).encode() + b"\n")
    for rows, outcomes in (train, validation):
        table = pa.Table.from_pandas(raw_features(rows, features).assign(**{OUTCOME: outcomes}), preserve_index=False)
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    file.flush()


def _read_split(file: BinaryIO) -> "Split":
    import pyarrow as pa

    with pa.ipc.open_stream(file) as stream:
        frame = stream.read_all().to_pandas()
    outcomes = frame.pop(OUTCOME).to_numpy()
    return frame, outcomes


def main() -> None:
    """Works on the study of the order until it has what was asked for."""
    from e2i_pipeline.domain.tuning import Tuning
    from e2i_pipeline.resources.optuna_quiet import quiet
    from e2i_pipeline.resources.optuna_spaces import spaces_of
    from e2i_pipeline.resources.optuna_storage import open_storage
    from e2i_pipeline.resources.optuna_study import Rules, StudyRun

    file = sys.stdin.buffer
    order = json.loads(file.readline())
    features = tuple(FeatureSpec.model_validate(feature) for feature in order["features"])
    tuning = Tuning(_read_split(file), _read_split(file), features, **order["tuning"])
    threading.Thread(target=_end_with, args=(file,), daemon=True).start()
    rules = Rules(**{**order["rules"], "given": tuple(order["rules"]["given"])})
    spaces = spaces_of(list(order["search_space"]), order["search_space"], order["tuning"]["problem_type"])
    with quiet(), open_storage(os.environ[STORAGE]) as storage:
        StudyRun(storage, rules, tuning, spaces, cores=order["cores"]).work()


def _end_with(file: BinaryIO) -> None:
    """Ends this process with its input: the lease of a trial in flight ends with it, and others try that slot again."""
    file.read(1)
    os._exit(0)


if __name__ == "__main__":
    main()
