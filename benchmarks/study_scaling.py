"""Two workers of a study against one, each fitting on one thread. Both find the same, to the last digit.

There are fewer rows than the product gives a second thread (`ROWS_PER_THREAD`), so that one worker uses one core.
"""

from benchmarks.frame.bar import Bar, Outcome, Room, Side, ratio
from benchmarks.study_search.sides import outcome, prepare, searched


def by(workers: int) -> Side:
    """A side with so many workers."""

    def side(room: Room) -> Outcome:
        said, peak_mib = searched(room, workers, seed=1)  # pairs are held against each other too
        found = {name: said[name] for name in ("trials", "pruned", "best", "best_value")}
        return outcome(said, peak_mib)._replace(answer=found)

    return side


BAR = Bar(
    name="study_scaling",
    limits=(ratio(1 / 1.5),),
    product="a study by two workers of one thread each",
    reference="the same study by one worker of one thread",
    run_product=by(2),
    run_reference=by(1),
    sizes={"rows": 95_000, "trials": 100},
    quick_sizes={"rows": 45_000, "trials": 60},
    pairs=3,
    quick_pairs=2,
    prepare=prepare,
)
