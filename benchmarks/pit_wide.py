"""A thousand features of ten views, joined to 17,000 rows as of what was known, to Parquet.

Both sides as in `pit_join`. The query is the faster of two ways that were tried: it finds winning rows first and reads
their columns then; carried through the joins they took four times as long and 2.8 GB.
"""

from benchmarks.frame.bar import Bar, peak, ratio, seconds
from benchmarks.point_in_time.sides import by_feast, by_query, prepare

BAR = Bar(
    name="pit_wide",
    limits=(seconds(10), peak(1024), ratio(2.0)),
    product="the join through Feast, written to Parquet",
    reference="one hand-written query that gives the same rows",
    run_product=by_feast("wide"),
    run_reference=by_query("wide"),
    sizes={"entities": 17_000, "rows": 170_000},
    quick_sizes={"entities": 3_000, "rows": 30_000},
    pairs=5,
    quick_pairs=2,
    prepare=prepare("wide"),
)
