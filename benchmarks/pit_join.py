"""A million journeys and three views of five million rows together, joined as of what was known, to Parquet.

Both sides work in a process of their own that has imported what it needs and has warmed up on small tables; the
product's memory includes Feast, the query's does not.
"""

from benchmarks.frame.bar import Bar, peak_ratio, ratio
from benchmarks.point_in_time.sides import by_feast, by_query, prepare

BAR = Bar(
    name="pit_join",
    limits=(ratio(1.5), peak_ratio(1.3)),
    product="the join through Feast, written to Parquet",
    reference="one hand-written query with ASOF joins that gives the same rows",
    run_product=by_feast("journeys"),
    run_reference=by_query("journeys"),
    sizes={"entities": 1_000_000, "rows": 5_000_000},
    quick_sizes={"entities": 100_000, "rows": 500_000},
    pairs=5,
    quick_pairs=2,
    prepare=prepare("journeys"),
)
