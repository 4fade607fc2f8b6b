"""What MLflow and the study's storage take of a study whose trials take two seconds or more: locally, on PostgreSQL.

The product runs a study with its trials as nested runs in MLflow, once on local files, once with both on PostgreSQL;
the seconds within calls to MLflow and to the storage are counted. The reference, the same study in a local file
without MLflow, must find the same; its time does not count.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.frame.bar import Bar, BarError, Limit, Outcome, Room
from benchmarks.frame.child import run_python

_SHORTEST_TRIAL_S = 2.0
_PLACES = ("local", "postgresql")


def prepare(room: Room) -> None:
    """Starts a PostgreSQL server, which ends with this process."""
    from e2i_pipeline_tests import servers

    binaries = servers._postgres_binaries()
    if binaries is None:
        raise BarError("PostgreSQL's server (initdb, postgres) is not installed: .ci/install-services installs it.")
    server = servers.Postgres(binaries)
    urls = [server.database() for _ in range(2 * (BAR.pairs + 1))]
    _urls(room).write_text(json.dumps(urls), encoding="utf-8")


def product(room: Room) -> Outcome:
    """Both studies, tracked."""
    left = json.loads(_urls(room).read_text(encoding="utf-8"))
    _urls(room).write_text(json.dumps(left[2:]), encoding="utf-8")
    said, peak_mib = _study(room, "tracked", *left[:2])
    if said["local"]["answer"] != said["postgresql"]["answer"]:
        raise BarError(f"The studies of the two places found other things: {said}")
    counts: dict[str, float] = {}
    for place in _PLACES:
        one = said[place]
        if one["trial"] < _SHORTEST_TRIAL_S or one["calls"] < room.sizes["trials"]:
            raise BarError(f"A trial took {one['trial']:.2f} s, and its storage {one['calls']} calls: raise the rows.")
        counts |= {f"{place} {name}, s": one[name] for name in ("mlflow", "storage", "seconds", "trial")}
        counts[place] = (one["mlflow"] + one["storage"]) / one["seconds"]
    return Outcome(sum(said[place]["seconds"] for place in _PLACES), peak_mib, said["local"]["answer"], counts)


def reference(room: Room) -> Outcome:
    """The study alone."""
    said, peak_mib = _study(room, "bare")
    return Outcome(said["local"]["seconds"], peak_mib, said["local"]["answer"])


def _study(room: Room, side: str, *urls: str) -> tuple[dict[str, Any], float]:
    arguments = [str(room.folder / "made"), str(room.sizes["rows"]), str(room.sizes["trials"]), side, *urls]
    child = run_python(room.folder, ["-m", "benchmarks.tracked_study.study", *arguments])
    return json.loads(child.out), child.peak_mib


def _urls(room: Room) -> Path:
    return room.shared / "urls"


def _share(place: str, at_most: float) -> Limit:
    return Limit(f"share on {place} storage", "", at_most, lambda product, _: product.counts[place])


BAR = Bar(
    name="tracking_overhead",
    limits=(_share("local", 0.03), _share("postgresql", 0.06)),
    product="two studies of XGBoost trials, on local storage and on PostgreSQL, each trial a nested run in MLflow",
    reference="the same study in a local file, without MLflow",
    run_product=product,
    run_reference=reference,
    sizes={"rows": 60_000, "trials": 20},
    quick_sizes={"rows": 60_000, "trials": 8},
    pairs=3,
    quick_pairs=2,
    prepare=prepare,
)
