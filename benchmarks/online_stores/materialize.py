"""Fills online stores: `python -m benchmarks.online_stores.materialize SIDE SETTINGS FOLDER WARM_UP ROWS SAMPLED`.

A small table comes first, which imports what is needed. Prints JSON: seconds and rows by store, and what Feast's own
reader finds for entities of the table SAMPLED.
"""

import contextlib
import io
import json
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.online_stores.repository import MATERIALIZED, open_store, sample, settings_of

_SAMPLED = 500


def main(side: str, settings: Path, folder: Path, warm_up: Path, rows: Path, sampled: Path) -> dict[str, Any]:
    seconds, answer = {}, {}
    for kind, given in settings_of(settings).items():
        _filled(side, folder / f"{kind}-warm", kind, given, warm_up)
        project, seconds[kind] = _filled(side, folder / kind, kind, given, rows)
        plain = open_store(folder / kind, project, kind, given, False, rows, MATERIALIZED)
        keys = [{"who": who} for who in sample(sampled, _SAMPLED)]
        found = plain.get_online_features([f"narrow:f{i}" for i in range(4)], keys).to_dict()
        answer[kind] = {name: list(map(str, values)) for name, values in found.items()}
    return {"seconds": seconds, "answer": answer}


def _filled(side: str, folder: Path, kind: str, settings: dict[str, Any], rows: Path) -> tuple[str, float]:
    folder.mkdir(parents=True)
    project = f"p{uuid.uuid4().hex[:8]}"
    store = open_store(folder, project, kind, settings, side == "ours", rows, MATERIALIZED)
    now = datetime.now(UTC)
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        store.materialize(now - timedelta(days=365), now)
        return project, time.perf_counter() - began


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], *map(Path, sys.argv[2:7]))))
