"""What `make run` costs when nothing has changed, beyond loading the definitions and opening Dagster's instance.

No asset may be recomputed, and none of the seven tools imported. The report of the run is about the run, and so it is
written each time.
"""

from benchmarks.frame.bar import Bar, BarError, Outcome, Room, beyond
from benchmarks.frame.product import Product, Run

ALWAYS_MADE = "run_report"


def prepare(room: Room) -> None:
    """The first run, which makes everything."""
    _product(room).run(room.shared / "first")


def product(room: Room) -> Outcome:
    """A further run on the same input."""
    over = _product(room)
    run = over.run(room.folder)
    _require_idle(run)
    counts = {"assets": len(run.assets), "seconds within the run": run.seconds}
    return Outcome(run.child.seconds, run.child.peak_mib, over.references_digest(ALWAYS_MADE), counts)


def reference(room: Room) -> Outcome:
    """A process that loads the definitions and opens the instance, on the same state folder."""
    over = _product(room)
    child = over.start_up(room.folder)
    return Outcome(child.seconds, child.peak_mib, over.references_digest(ALWAYS_MADE))


def _product(room: Room) -> Product:
    return Product(room.shared / "state", room.sizes["journeys per brand"])


def _require_idle(run: Run) -> None:
    made = sorted(asset for asset, is_unchanged in run.assets.items() if not is_unchanged and asset != ALWAYS_MADE)
    if made or run.imported:
        raise BarError(
            f"A run on unchanged input did work: recomputed {', '.join(made) or 'nothing'}, imported "
            f"{', '.join(run.imported) or 'no tool'}."
        )


BAR = Bar(
    name="rerun_unchanged",
    limits=(beyond(5.0),),
    product="`e2i run` on unchanged input",
    reference="a process that loads the definitions and opens the instance",
    run_product=product,
    run_reference=reference,
    sizes={"journeys per brand": 20_000},
    quick_sizes={"journeys per brand": 1_500},
    prepare=prepare,
)
