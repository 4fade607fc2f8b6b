"""Which features exist for which source, and which covariates are refused."""

from typing import Any

import pytest

from e2i_pipeline.contracts.references import ColumnInfo, TableRef
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.features import (
    CATALOGUE,
    ENGAGEMENT_FEATURES,
    ENTITIES,
    HCP_FEATURES,
    PATIENT_FEATURES,
    model_features,
    observation_window,
    plan_view,
)
from e2i_pipeline.errors import ConfigurationError


def _tables(absent: tuple[str, ...] = (), **without: tuple[str, ...]) -> dict[str, TableRef]:
    """All canonical tables, but for the absent ones and the columns that a table is without."""
    return {
        name: TableRef(
            key=name,
            name=name,
            version=name,
            is_absent=name in absent,
            columns=tuple(
                ColumnInfo(name=c.name, dtype=c.dtype) for c in schema.columns if c.name not in without.get(name, ())
            ),
        )
        for name, schema in TABLES.items()
    }


def _covariate(**entry: Any) -> dict[str, Any]:
    return {"name": "extra", "table": "treatment_events", "column": "dosage", "dtype": "categorical", **entry}


def test_a_full_source_has_the_whole_catalogue_and_leaves_nothing_out() -> None:
    plans = [plan_view(view, _tables()) for view in ENTITIES]
    assert model_features(plans) == CATALOGUE
    assert [plan.left_out for plan in plans] == [{}, {}, {}]


def test_features_of_an_absent_table_are_left_out_with_the_reason() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(absent=("treatment_events",)))
    assert plan.names == ("risk_factors", "risk_score")
    assert plan.left_out["days_since_diagnosis"] == "the source has no treatment_events"
    assert plan.left_out["total_cost"] == "the source has no treatment_events"
    assert [f.name for f in model_features([plan])] == ["risk_factors", "risk_score"]


def test_a_feature_of_an_absent_column_is_left_out_with_the_reason() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(treatment_events=("cost",), patient_journeys=("comorbidities",)))
    assert plan.left_out == {
        "total_cost": "treatment_events has no cost",
        "risk_factors": "patient_journeys has no comorbidities",
    }


def test_a_missing_table_counts_as_absent() -> None:
    tables = _tables()
    del tables["engagement_events"]
    plan = plan_view(HCP_FEATURES, tables)
    assert plan.names == ("specialty", "patient_volume", "total_patients")
    assert set(plan.left_out) == {"engagement_rate", "call_frequency", "first_call_date", "last_call_date"}


def test_without_hcp_ids_in_journeys_no_hcp_feature_can_be_joined() -> None:
    plan = plan_view(HCP_FEATURES, _tables(patient_journeys=("hcp_id",)))
    assert plan.is_empty
    assert plan.left_out["specialty"] == "patient_journeys has no hcp_id, so that no HCP can be joined to a journey"


@pytest.mark.parametrize("without", ["patient_id", "hcp_id"])
def test_touches_reach_patients_by_either_way(without: str) -> None:
    table = "engagement_events" if without == "patient_id" else "patient_journeys"
    plan = plan_view(ENGAGEMENT_FEATURES, _tables(**{table: (without,)}))
    assert not plan.is_empty
    assert plan.left_out == {}


def test_touches_that_reach_no_patient_make_no_feature() -> None:
    plan = plan_view(ENGAGEMENT_FEATURES, _tables(engagement_events=("patient_id",), patient_journeys=("hcp_id",)))
    assert plan.is_empty
    assert "no touch reaches a patient" in plan.left_out["recent_touches"]


def test_a_covariate_becomes_a_feature_by_configuration_alone() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(), [_covariate(low=0.0, high=5.0)])
    feature = model_features([plan])[-1]
    assert (feature.name, feature.kind, feature.view, feature.low, feature.high) == (
        "extra",
        "categorical",
        PATIENT_FEATURES,
        0.0,
        5.0,
    )
    assert plan_view(HCP_FEATURES, _tables(), [_covariate()]).covariates == ()


def test_a_count_of_categories_is_a_number() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(), [_covariate(aggregation="count")])
    assert model_features([plan])[-1].kind == "numeric"


def test_a_covariate_without_its_column_is_left_out() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(treatment_events=("dosage",)), [_covariate()])
    assert plan.covariates == ()
    assert plan.left_out == {"extra": "treatment_events has no dosage"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"name": "risk_score"}, "already the name of a feature"),
        ({"name": "call_count"}, "already the name of a feature"),
        ({"name": "patient_id"}, "already the name of a feature"),
        ({"dtype": "numeric"}, "declared numeric, but treatment_events.dosage is staged as VARCHAR"),
        ({"dtype": "boolean"}, "declared boolean"),
        ({"aggregation": "mean"}, "declared numeric"),
        ({"column": "icd_codes"}, r"staged as VARCHAR\[\]"),
        ({"table": "patient_journeys", "column": "treatment_initiated", "dtype": "boolean"}, "holds an outcome"),
        ({"table": "patient_journeys", "column": "days_to_treatment", "dtype": "numeric"}, "holds an outcome"),
        (
            {"table": "patient_journeys", "column": "risk_score", "dtype": "numeric", "aggregation": "sum"},
            "count every version",
        ),
        ({"table": "hcp_profiles", "column": "decile", "dtype": "numeric", "aggregation": "max"}, "of a profile"),
        ({"table": "patient_journeys", "column": "risk_score", "dtype": "numeric", "window": 30}, "has a window"),
        ({"name": "recent_touch", "table": "treatment_events", "window": 30}, r"name of one \(recent_touch_times\)"),
        ({"name": "observation_date"}, "already the name of a feature"),
    ],
)
def test_a_covariate_that_cannot_be_what_it_says_is_refused(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        plan_view(PATIENT_FEATURES, _tables(), [_covariate(**entry)])


def test_a_windowed_covariate_is_stored_as_its_times_and_values_and_a_count_as_times_alone() -> None:
    entries = [_covariate(window=30), _covariate(name="counted", aggregation="count", window=30)]
    plan = plan_view(PATIENT_FEATURES, _tables(), entries)
    assert plan.names[-3:] == ("extra_times", "extra_values", "counted_times")
    latest, counted = model_features([plan])[-2:]
    assert (latest.name, latest.kind, latest.aggregation, latest.window_days) == ("extra", "categorical", "latest", 30)
    assert (counted.name, counted.kind, counted.source) == ("counted", "numeric", "treatment_events")
    assert "in the last 30 days" in counted.description


def test_a_windowed_covariate_without_its_column_is_left_out_with_its_anchors() -> None:
    plan = plan_view(PATIENT_FEATURES, _tables(treatment_events=("dosage",)), [_covariate(window=30)])
    assert plan.left_out == {"extra": "treatment_events has no dosage"}
    assert not plan.covariates
    assert "extra" not in {feature.name for feature in model_features([plan])}


def test_covariates_of_touches_and_profiles_belong_to_their_own_views() -> None:
    touches = _covariate(name="answers", table="engagement_events", column="response", aggregation="count", window=9)
    profile = _covariate(name="decile", table="hcp_profiles", column="decile", dtype="numeric")
    entries = [touches, profile]
    names = {view: [c.name for c in plan_view(view, _tables(), entries).covariates] for view in ENTITIES}
    assert names == {"patient_features": [], "hcp_features": ["decile"], "engagement_features": ["answers"]}
    without = plan_view(HCP_FEATURES, _tables(patient_journeys=("hcp_id",)), entries)
    assert without.left_out["decile"] == without.left_out["specialty"]


def test_a_covariate_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="extra is already the name"):
        plan_view(PATIENT_FEATURES, _tables(), [_covariate(), _covariate(column="drug_class")])


def test_the_observation_window_is_all_of_it_unless_somebody_declares_another() -> None:
    assert observation_window([90, 30], None) is None  # the cumulative counts see all that is known
    assert observation_window([90, None], 365) == 365
