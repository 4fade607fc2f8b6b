"""The third-party Synthea exports through `examples/synthea.yaml`: their counts agree with the README beside them."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from e2i_pipeline.config.loader import PROJECT, load_settings
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.domain import cohorts, splits
from e2i_pipeline.errors import CohortTooSmall
from e2i_pipeline.resources.connectors.synthea import SyntheaConnector
from e2i_pipeline_tests.resources.connectors.synthea_drop import shared_synthea

NEBRASKA, MASSACHUSETTS = "synthea_ne_2023", "synthea_ohdsi_seed"
Defects = dict[str, dict[str, tuple[int, int]]]


def settings(name: str, state: Path) -> Settings:
    return load_settings(
        {
            "E2I_CONFIG": str(PROJECT / "examples" / "synthea.yaml"),
            "E2I_DATA": str(shared_synthea(name)),
            "E2I_STATE_DIR": str(state),
        }
    )


def source(name: str, cohort: CohortDefinition) -> SyntheaConnector:
    return SyntheaConnector(str(shared_synthea(name)), cohort, "AcuteCare")


def defects_of(name: str, cohort: CohortDefinition) -> Defects:
    """Rows and rows looked at, by defect, by Synthea table."""
    found: Defects = {}
    connector = source(name, cohort)
    with duckdb.connect() as connection:
        for table in ("patient_journeys", "treatment_events", "hcp_profiles"):
            connector.query(connection, table)
            for defect in connector.defects(connection, table):
                found.setdefault(defect.table, {})[defect.defect] = (defect.rows, defect.of_rows)
    return found


def split_counts(name: str, chosen: Settings, cohort: CohortDefinition) -> dict[str, tuple[int, int]]:
    """Journeys and positives per split, as the published dataset would have them."""
    with duckdb.connect() as connection:
        query = source(name, cohort).query(connection, "patient_journeys")
        frame = connection.execute(f"SELECT * FROM ({query})").df()
    index_dates = frame["journey_start_date"].to_numpy().astype("datetime64[D]")
    is_mature = frame["treatment_initiated"].notna().to_numpy(dtype=bool)
    shares = (chosen.splits.train, chosen.splits.validation, chosen.splits.test, chosen.splits.holdout)
    cuts = splits.compute_cuts(index_dates[is_mature], shares, chosen.splits.gap_days, chosen.splits.version)
    split = splits.assign(index_dates, frame["patient_id"].to_numpy(), is_mature, cuts)
    positive = frame["treatment_initiated"].eq(1).to_numpy(dtype=bool, na_value=False)
    return {str(s): (int((split == s).sum()), int((positive & (split == s)).sum())) for s in np.unique(split)}


def test_example_is_valid(tmp_path: Path) -> None:
    environment = {"E2I_CONFIG": str(PROJECT / "examples" / "synthea.yaml"), "E2I_STATE_DIR": str(tmp_path)}
    loaded = load_settings({**environment, "E2I_DATA": str(tmp_path)})
    assert (loaded.source.kind, loaded.source.location) == ("synthea", str(tmp_path))
    SyntheaConnector(str(tmp_path), loaded.cohort, loaded.brands[0], **loaded.source.synthea.model_dump())


def test_export_that_is_not_there_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("E2I_SHARED_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="E2I_SHARED_DATA"):
        shared_synthea(NEBRASKA)


def test_known_defects_of_nebraska_agree_with_the_readme(tmp_path: Path) -> None:
    found = defects_of(NEBRASKA, settings(NEBRASKA, tmp_path).cohort)
    assert found["medications"]["STOP is before START"] == (2, 6124)
    assert found["medications"]["no STOP: open-ended"] == (244, 6124)
    assert round(244 / 6124, 2) == 0.04
    assert found["encounters"]["dated after the patient's death date"] == (10, 7584)
    assert (found["patients"]["ZIP is 0"], found["patients"]["no FIPS"]) == ((7, 111), (7, 111))
    filled, of_rows = found["patients"]["SUFFIX: a direct identifier"]
    assert round(1 - filled / of_rows, 2) == 0.99
    assert found["providers"]["ZIP has 9 digits, not 5"] == (211, 215)
    assert "ZIP has fewer than 5 digits" not in found["providers"]  # so that the other 4 have 5
    assert found["providers"]["all providers have the same SPECIALITY"] == (215, 215)
    assert found["all events"] == {"events dated from 1936 to 2023": (31652, 31652)}
    assert found["conditions"]["dated the day before its encounter (a local day against UTC)"] == (1041, 4428)
    assert not any(words.endswith("known export") for table in found.values() for words in table)


def test_older_generation_is_read_and_its_defects_counted(tmp_path: Path) -> None:
    found = defects_of(MASSACHUSETTS, settings(MASSACHUSETTS, tmp_path).cohort)
    assert found["patients"]["no ZIP"] == (12, 27)
    assert "no FIPS" not in found["patients"]  # that generation has no such column
    assert found["encounters"]["dated after the patient's death date"] == (2, 604)
    assert found["observations"]["a survey, social history or a score of the simulation"] == (511, 990)
    assert found["providers"]["SPECIALITY is none that the platform knows"] == (33, 166)
    assert found["medications"]["no STOP: open-ended"] == (46, 663)
    assert not any(words.endswith("known export") for table in found.values() for words in table)


def test_newer_export_is_too_small_to_learn_from(tmp_path: Path) -> None:
    chosen = settings(NEBRASKA, tmp_path)
    counts = split_counts(NEBRASKA, chosen, chosen.cohort)
    expected = {"train": (58, 3), "validation": (18, 3), "test": (13, 1), "holdout": (4, 1), "unassigned": (3, 1)}
    assert counts == expected
    with pytest.raises(CohortTooSmall, match="93 journeys in all splits, 300 needed; 3 positives in train, 30 needed"):
        cohorts.check_size(counts, chosen.cohort)


def test_older_export_is_too_small_to_be_split(tmp_path: Path) -> None:
    chosen = settings(MASSACHUSETTS, tmp_path)
    with pytest.raises(CohortTooSmall, match=r"leaves a split empty: train 1, .* 3 of 4 journeys inside the gaps"):
        split_counts(MASSACHUSETTS, chosen, chosen.cohort)


def test_many_journeys_of_few_patients_do_not_help(tmp_path: Path) -> None:
    """A patient whose visits span decades would fall into two splits, and is therefore in none."""
    chosen = settings(NEBRASKA, tmp_path)
    wellness = ConceptSet(table="encounters", classes=("wellness",))
    cohort = chosen.cohort.model_copy(update={"unit": "journey", "index_event": wellness})
    counts = split_counts(NEBRASKA, chosen, cohort)
    assert counts == {"train": (172, 13), "holdout": (14, 0), "unassigned": (2180, 89)}
    with pytest.raises(CohortTooSmall, match="186 journeys in all splits, 300 needed"):
        cohorts.check_size(counts, cohort)
