"""Reads one entity at a time: `python -m benchmarks.online_stores.read SIDE SETTINGS FOLDER ROWS READS`.

The stores are filled by the product on both sides. Prints JSON: the median read by store, in seconds, and the answers.
"""

import contextlib
import io
import json
import statistics
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.online_stores.repository import READ, open_store, sample, settings_of

_ENTITIES = 100
_WARM_UP_READS = 200


def main(side: str, settings: Path, folder: Path, rows: Path, reads: int) -> dict[str, Any]:
    names = [f"{view}:f{i}" for view, (features, _) in READ.items() for i in range(features)]
    seconds, answer = {}, {}
    for kind, given in settings_of(settings).items():
        project, place = f"p{uuid.uuid4().hex[:8]}", folder / kind
        place.mkdir(parents=True)
        now = datetime.now(UTC)
        with contextlib.redirect_stdout(io.StringIO()):
            open_store(place, project, kind, given, True, rows, READ).materialize(now - timedelta(days=365), now)
        store = open_store(place, project, kind, given, side == "ours", rows, READ)
        who = sample(rows, _ENTITIES)
        taken = []
        for number in range(_WARM_UP_READS + reads):
            asked = [{"who": who[number % len(who)]}]
            began = time.perf_counter()
            store.get_online_features(names, asked, full_feature_names=True)
            taken.append(time.perf_counter() - began)
        seconds[kind] = statistics.median(taken[_WARM_UP_READS:])
        found = store.get_online_features(names, [{"who": w} for w in who], full_feature_names=True).to_dict()
        answer[kind] = {name: list(map(str, values)) for name, values in found.items()}
    return {"seconds": seconds, "answer": answer}


if __name__ == "__main__":
    side, *paths, reads = sys.argv[1:6]
    sys.stdout.write(json.dumps(main(side, *map(Path, paths), int(reads))))
