"""The online store against the offline store: what agrees is served, and nothing else, in this run or a later one."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from e2i_pipeline.contracts.references import OnlineFeaturesRef
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.errors import ServingBlocked
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.parity import ParityResource
from e2i_pipeline_tests.feature_oracle import BEGIN
from e2i_pipeline_tests.feature_store import Store, applied_store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = BEGIN + timedelta(days=60)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return applied_store(tmp_path, seed=5)


def _parity(store: Store, min_present: float = 0.02) -> ParityResource:
    state = store.feast.state_dir
    metadata = MetadataResource(url=f"sqlite:///{state}/metadata.db", lock_dir=f"{state}/locks")
    return ParityResource(
        feast=store.feast, engine=store.feast.engine, metadata=metadata, sample=500, min_present=min_present
    )


def _break(store: Store, statement: str) -> None:
    """Changes the online store behind Feast's back."""
    with sqlite3.connect(Path(store.feast.state_dir) / "feast" / "online.db") as connection:
        assert connection.execute(statement).rowcount > 0


def _reasons(store: Store, online: OnlineFeaturesRef) -> str:
    parity = _parity(store)
    verdict = parity.audit(online, store.registry, "run", NOW).verdict
    assert not verdict.is_passed
    with pytest.raises(ServingBlocked, match="nothing was deployed"):
        parity.require(online)
    return " ".join(verdict.reasons)


def test_what_was_filled_from_the_tables_agrees_and_may_be_served(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    parity = _parity(store)
    with pytest.raises(ServingBlocked, match="not compared yet"):
        parity.require(online)
    found = parity.audit(online, store.registry, "run", NOW)
    assert found.verdict.is_passed
    assert {result.view for result in found.results if result.present} == set(ENTITIES)
    parity.require(online)
    assert parity.audit(online, store.registry, "later", NOW).results == (), "the same fill is compared once"


def test_another_value_a_lost_value_and_a_surplus_value_each_block(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    table = '"e2i_features_patient_features"'
    one = f"(SELECT entity_key FROM {table} WHERE feature_name = 'risk_score' ORDER BY entity_key LIMIT 1)"
    _break(store, f"DELETE FROM {table} WHERE entity_key = {one} AND feature_name = 'treatment_count'")
    _break(
        store,
        f"UPDATE {table} SET value = (SELECT value FROM {table} WHERE feature_name = 'total_cost' "
        "ORDER BY length(value) DESC LIMIT 1) WHERE feature_name = 'risk_score'",
    )
    reasons = _reasons(store, online)
    assert "patient_features:treatment_count differs online in 1 of" in reasons
    assert "1 with a value offline only" in reasons
    assert "patient_features:risk_score differs online in" in reasons
    assert "with another value" in reasons


def test_a_mended_store_is_compared_again(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    table = '"e2i_features_patient_features"'
    _break(store, f"UPDATE {table} SET feature_name = 'elsewhere' WHERE feature_name = 'risk_score'")
    assert "risk_score" in _reasons(store, online)
    _break(store, f"UPDATE {table} SET feature_name = 'risk_score' WHERE feature_name = 'elsewhere'")
    parity = _parity(store)
    assert parity.audit(online, store.registry, "run", NOW).verdict.is_passed
    parity.require(online)


def test_a_value_that_has_expired_offline_must_not_be_served(store: Store) -> None:
    """Ten years on, nothing is left offline: what the online store still holds must be absent too."""
    online = store.feast.materialize(store.registry, UNTIL + timedelta(days=365 * 12))
    reasons = _reasons(store, online)
    assert "differs" not in reasons, "the online read leaves out what has expired"
    assert "patient_features: 0 of" in reasons, "agreement on nulls alone is no agreement"


def test_too_few_present_values_block(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    parity = _parity(store, min_present=1.0)
    verdict = parity.audit(online, store.registry, "run", NOW).verdict
    assert not verdict.is_passed
    assert "sampled entities have a value offline" in " ".join(verdict.reasons)


def test_a_live_touch_is_no_mismatch_and_is_told(store: Store) -> None:
    online = store.feast.materialize(store.registry, UNTIL)
    later = UNTIL + timedelta(days=1)
    touch = {"patient_id": "p0", "hcp_id": "h0", "channel": "email", "event_timestamp": later, "known_at": later}
    assert store.feast.push_touches(store.registry, pd.DataFrame([touch]), store.staged).added == 1
    found = _parity(store).audit(online, store.registry, "run", NOW)
    assert found.verdict.is_passed, found.verdict.reasons
    assert {r.view: r.pushed for r in found.results} == {
        "patient_features": 0,
        "hcp_features": 0,
        "engagement_features": 1,
    }
