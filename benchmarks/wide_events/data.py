"""Writes treatment events, as many as are wanted, as a Parquet file: `python -m benchmarks.wide_events.data FILE ROWS`.

Pseudo-random by a hash of the row's number, so that the same number of rows is always the same file's content.
"""

import sys

ROW = """
SELECT
    md5('e' || i) AS treatment_event_id,
    md5('j' || (i // 12)) AS patient_journey_id,
    md5('p' || (i // 15)) AS patient_id,
    CASE WHEN h % 10 < 9 THEN md5('h' || (h % 5000)) END AS hcp_id,
    DATE '2020-01-01' + CAST((i % 15) * 60 + h % 50 AS INTEGER) AS event_date,
    ['diagnosis', 'prescription', 'lab_test', 'procedure', 'consultation', 'hospitalization'][1 + (h // 7) % 6]
        AS event_type,
    CASE WHEN h % 3 > 0 THEN 'subtype_' || (h % 20) END AS event_subtype,
    ['Remibrutinib', 'Fabhalta', 'Kisqali', 'competitor', 'other'][1 + (h // 11) % 5] AS brand,
    CASE WHEN h % 2 = 0 THEN printf('%05d-%04d-%02d', h % 100000, h % 1000, h % 100) END AS drug_ndc,
    CASE WHEN h % 2 = 0 THEN 'drug ' || (h % 300) END AS drug_name,
    ['A', 'B', 'C'][1 + h % 3] AS drug_class,
    CASE WHEN h % 2 = 0 THEN (h % 500) || ' mg' END AS dosage,
    CASE WHEN h % 4 > 0 THEN CAST(h % 90 AS INTEGER) END AS duration_days,
    ['office', 'hospital', 'home'][1 + (h // 5) % 3] AS location_type,
    CASE WHEN h % 5 > 0 THEN 'F' || (h % 2000) END AS facility_id,
    CASE WHEN h % 10 > 0 THEN (h % 1000000) / 100.0 END AS cost,
    ['improved', 'stable', 'worse'][1 + (h // 13) % 3] AS outcome_indicator,
    h % 17 = 0 AS adverse_event_flag,
    h % 19 = 0 AS discontinuation_flag,
    CASE WHEN h % 19 = 0 THEN 'reason ' || (h % 7) END AS discontinuation_reason,
    CAST(1 + i % 15 AS INTEGER) AS sequence_number,
    CAST((i % 15) * 60 AS INTEGER) AS days_from_diagnosis,
    ['IQVIA_APLD', 'HealthVerity', 'Komodo', 'Veeva'][1 + h % 4] AS data_source,
    TIMESTAMP '2024-01-01' + to_seconds(h % 1000000) AS source_timestamp,
    TIMESTAMP '2024-02-01' + to_seconds(h % 1000000) AS created_at,
    ['train', 'validation', 'test', 'holdout', 'unassigned'][1 + h % 5] AS data_split,
    TIMESTAMP '2024-02-01' + to_seconds(h % 1000000) AS known_at
FROM (SELECT i, CAST(hash(i) % 1000000007 AS BIGINT) AS h FROM range({rows}) AS numbers(i))
"""


def main(path: str, rows: int) -> None:
    import duckdb

    with duckdb.connect(config={"memory_limit": "2GB", "preserve_insertion_order": False}) as connection:
        connection.execute(f"COPY ({ROW.format(rows=rows)}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
