"""A study of XGBoost, against the loops that people write by hand: one trial after another on all cores.

Both loops are Optuna's own TPE over `XGBClassifier.fit` with early stopping, the second one with what
`XGBoostPruningCallback` does and Optuna's default pruner. The product runs as it does by default: in batches, with a
worker per core, its trials kept in a journal. Each pair has a seed of its own. The quality is the AUC, on rows that no
arm has seen, of a model fitted with what the search found best.
"""

from benchmarks.frame.bar import Bar, Limit, Outcome, Room
from benchmarks.study_search.sides import looped, outcome, prepare, searched


def product(room: Room) -> Outcome:
    """The product's study."""
    return outcome(*searched(room, workers=4))


def reference(room: Room) -> Outcome:
    """Both loops; the time that counts is that of the plain one."""
    plain, peak_mib = looped(room, "plain")
    pruned, _ = looped(room, "pruned")
    return outcome(plain, peak_mib, **{"pruned loop, s": pruned["seconds"], "pruned loop, auc": pruned["auc"]})


BAR = Bar(
    name="study_speed",
    limits=(
        Limit("of the plain loop", "", 1 / 2.0, lambda ours, loop: ours.seconds / loop.seconds),
        Limit("of the pruned loop", "", 1 / 1.15, lambda ours, loop: ours.seconds / loop.counts["pruned loop, s"]),
        Limit("AUC below the plain loop", "", 0.002, lambda ours, loop: loop.counts["auc"] - ours.counts["auc"]),
    ),
    product="a study of XGBoost in the product, by a worker per core",
    reference="a loop over XGBClassifier.fit on all cores, without and with Optuna's pruning callback",
    run_product=product,
    run_reference=reference,
    sizes={"rows": 200_000, "trials": 100},
    quick_sizes={"rows": 20_000, "trials": 40},
    pairs=5,
    quick_pairs=2,
    prepare=prepare,
)
