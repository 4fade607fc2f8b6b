"""The states and regions, held against the Census Bureau's own numbers of states per region."""

from collections import Counter

import duckdb
import pytest

from e2i_pipeline.domain.us_states import STATES, region_sql, state_code_sql


def test_every_state_is_in_one_region() -> None:
    assert Counter(region for _, region in STATES.values()) == {"northeast": 9, "midwest": 12, "south": 17, "west": 13}
    assert len({code for code, _ in STATES.values()}) == 51


@pytest.mark.parametrize(
    ("given", "code", "region"),
    [
        ("Nebraska", "NE", "midwest"),
        ("west virginia", "WV", "south"),
        ("ma", "MA", "northeast"),
        ("District of Columbia", "DC", "south"),
        ("Puerto Rico", "PUERTO RICO", None),
        (None, None, None),
    ],
)
def test_names_and_codes_give_the_code_and_the_region(given: str | None, code: str | None, region: str | None) -> None:
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT code, {region_sql('code')} FROM (SELECT {state_code_sql('given')} AS code "
            "FROM (SELECT CAST(? AS VARCHAR) AS given))",
            [given],
        ).fetchone()
    assert found == (code, region)
