"""`examples/synthetic.yaml` as a user runs it: late, corrected and missing rows, up to those that are learnt from."""

import json

import duckdb
import pytest

from e2i_pipeline_tests.processes import PROJECT, Done, Product

JOURNEYS = 1_500


class Ran:
    """What a run left behind.

    Args:
        product: Whose state folder.
        done: The run.
    """

    def __init__(self, product: Product, done: Done) -> None:
        self.product, self.state, self.done = product, product.state, done

    def ask(self, query: str, **tables: str) -> tuple[float, ...]:
        """One row, over the only Parquet file that each pattern finds in the state folder."""
        with duckdb.connect() as connection:
            for name, pattern in tables.items():
                [file] = self.state.glob(pattern)
                connection.execute(f"CREATE VIEW {name} AS FROM '{file}'")
            found = connection.execute(query).fetchone()
        assert found is not None
        return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    product = Product(
        tmp_path_factory.mktemp("synthetic") / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "synthetic.yaml"),
        E2I__BRANDS="[Kisqali]",
        E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND=str(JOURNEYS),
        E2I__OPTUNA__SEARCH__N_TRIALS="2",
    )
    return Ran(product, product.materialize("*training_dataset", "Kisqali"))


def test_every_gate_on_the_way_is_open(ran: Ran) -> None:
    assert ran.done.status == 0, ran.done.text


@pytest.mark.slow
def test_the_graph_runs_to_its_end(ran: Ran) -> None:
    done = ran.product.e2i("run")
    assert done.status == 0, done.text
    assert "Kisqali-conversion version 1" in done.out


def test_versions_are_landed_and_a_baseline_is_known_by_the_first(ran: Ran) -> None:
    journeys, rows, first, later = ran.ask(
        """SELECT count(DISTINCT patient_journey_id), count(*),
            count(*) FILTER (baseline_known_at = journey_start_date), count(*) FILTER (known_at > baseline_known_at)
        FROM staged""",
        staged="staging/patient_journeys/*/data.parquet",
    )
    assert journeys == JOURNEYS
    assert rows == first > 1.9 * JOURNEYS
    assert later == rows - JOURNEYS


def test_the_model_learns_from_all_journeys_with_what_was_known_then(ran: Ran) -> None:
    rows, missing, without_score = ran.ask(
        """SELECT count(*), avg((disease_severity IS NULL)::INT), avg((engagement_score IS NULL)::INT) FROM training""",
        training="training/Kisqali/*/data.parquet",
    )
    assert rows == JOURNEYS
    assert missing == pytest.approx(0.10, abs=0.03)
    assert without_score == 0


def test_the_truth_lies_beside_the_tables(ran: Ran) -> None:
    [file] = ran.state.glob("synthetic/*/truth.json")
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["process"] == "heterogeneous"
    assert told["design"]["seasonality"] == 0.3
    assert [s["effect_log_odds"] for s in told["brands"]["Kisqali"]["segments"].values()] == [0.15, 0.30, 0.50]
