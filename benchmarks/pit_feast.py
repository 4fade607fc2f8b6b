"""A million entity rows and a view of a million: Feast with the product's offline store, and with its own DuckDB one.

Both cut by known-at time, which Feast's own store must be asked for, and give the same rows.
"""

from benchmarks.frame.bar import Bar, ratio
from benchmarks.point_in_time.sides import by_feast, prepare

BAR = Bar(
    name="pit_feast",
    limits=(ratio(1 / 3),),
    product="the join through Feast, written to Parquet",
    reference="the same join through Feast with its own DuckDB store",
    run_product=by_feast("pair"),
    run_reference=by_feast("pair", "duckdb"),
    sizes={"entities": 1_000_000, "rows": 1_000_000},
    quick_sizes={"entities": 100_000, "rows": 100_000},
    pairs=3,
    quick_pairs=2,
    prepare=prepare("pair"),
)
