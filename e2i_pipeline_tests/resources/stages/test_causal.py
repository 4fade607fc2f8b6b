"""The causal stage over real rows: from a published drop to a verdict, kept and recalled, by the resources of a run."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from e2i_pipeline.contracts.causal import (
    EffectEvaluationRef,
    EffectModelRef,
    OverlapRef,
    RefutationRef,
    TargetTrialProtocol,
)
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import DatasetRef, TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.causal.linear_effect import LinearEffect
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.domain.synthetic import generate
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline.resources.stages.effect_registry import EffectParts, EffectRegistryResource
from e2i_pipeline_tests.drops import NOW, World, publish

SCOPE = ExperimentScope(
    key="s",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="Journeys of Kisqali.",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)
CHOSEN = {
    "E2I__CAUSAL__FOREST__TREES": "8",
    "E2I__CAUSAL__REFUTATION__DRAWS": "4",
    "E2I__CAUSAL__NUISANCE__FOLDS": "2",
    "E2I__CAUSAL__NEGATIVE_CONTROLS": "[negative_control_outcome]",
}


class Analysed(NamedTuple):
    """A published world, the modelling rows, and what each asset of the stage gave."""

    causal: CausalResource
    published: DatasetRef
    dataset: TrainingDatasetRef
    protocol: TargetTrialProtocol
    overlap: OverlapRef
    model: EffectModelRef
    evaluation: EffectEvaluationRef
    refutation: RefutationRef
    effects: EffectRegistryResource

    @property
    def parts(self) -> EffectParts:
        return EffectParts(self.protocol, self.overlap, self.model, self.evaluation, self.refutation)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    """A world with a hidden cause, which its negative control shows."""
    root = tmp_path_factory.mktemp("causal")
    world = World(root / "drop", root / "state")
    world.drop.mkdir()
    for name, table in generate(["Kisqali"], 7, 2_000, process="selection_bias").tables.items():
        duckdb.from_arrow(table).write_csv(str(world.drop / f"{name}.csv"))
    published = publish(world, **CHOSEN)
    resources = world.resources(**CHOSEN)
    dataset = rows_of(resources, published)
    causal: CausalResource = resources["causal"]
    protocol = causal.protocol(dataset, SCOPE)
    overlap, _, _ = causal.overlap("o", protocol, dataset)
    model = causal.fit("m", protocol, dataset, overlap)
    evaluation, _, _ = causal.evaluate("e", protocol, model)
    parts = (protocol, dataset, published, overlap, model, evaluation)
    refutation = causal.refute("r", *parts, "a run", NOW + timedelta(days=1))
    return Analysed(causal, published, dataset, protocol, overlap, model, evaluation, refutation, resources["effects"])


def rows_of(
    resources: dict[str, Any], published: DatasetRef, more: Sequence[Mapping[str, str]] = ()
) -> TrainingDatasetRef:
    """The modelling rows of the published dataset, as the assets make them, with covariates beyond the usual ones."""
    usual = [
        {"name": name, "table": "patient_journeys", "column": name, "dtype": dtype}
        for name, dtype in (
            ("disease_severity", "numeric"),
            ("academic_hcp", "boolean"),
            ("age_at_diagnosis", "numeric"),
            ("engagement_score", "numeric"),
        )
    ]
    feast = resources["feast"]
    views = {v: feast.write_view(v, published.tables, [*usual, *more], touch_window_days=90).table for v in ENTITIES}
    return resources["modelling"].training_dataset("a key", "Kisqali", published, feast.apply(views))


def test_the_treatment_s_own_traces_are_not_adjusted_for(analysed: Analysed) -> None:
    assert "engagement_score" in analysed.protocol.left_out
    assert {"disease_severity", "academic_hcp"} <= {f.name for f in analysed.protocol.confounders}
    assert not any(f.view == "engagement_features" for f in analysed.protocol.confounders)


def test_no_covariate_is_from_after_time_zero_and_a_later_one_is_counted(analysed: Analysed, tmp_path: Path) -> None:
    causal, published = analysed.causal, analysed.published
    assert causal.seen_after_time_zero(analysed.dataset, published) == (0, analysed.dataset.rows)
    later = tmp_path / "later.parquet"
    shifted = "observation_date + CASE WHEN row_number() OVER () <= 3 THEN INTERVAL 1 DAY ELSE INTERVAL 0 DAY END"
    duckdb.sql(f"SELECT * REPLACE ({shifted} AS observation_date) FROM '{analysed.dataset.location}'").write_parquet(
        str(later)
    )
    moved = analysed.dataset.model_copy(update={"location": str(later)})
    assert causal.seen_after_time_zero(moved, published) == (3, analysed.dataset.rows)


def test_the_effect_is_stored_as_plain_numbers_with_a_table_to_judge_it_by(analysed: Analysed) -> None:
    folder = Path(analysed.model.location)
    assert sorted(path.name for path in folder.iterdir()) == [
        "candidates.json",
        "effect.json",
        "evaluation.parquet",
        "reference.json",
    ]
    line = LinearEffect.model_validate_json((folder / "effect.json").read_bytes())
    assert line.names == ("disease_severity",)
    assert analysed.model.served == "linear_dml"
    assert set(analysed.model.scores) == {"linear_dml", "causal_forest"}
    columns = duckdb.sql(f"SELECT * FROM '{folder / 'evaluation.parquet'}'").columns
    assert {"effect", "effect_low", "effect_high", "is_supported"} <= set(columns)
    assert "patient_id" not in columns


def test_the_same_rows_give_the_same_effect_byte_for_byte(analysed: Analysed) -> None:
    again = analysed.causal.fit("again", analysed.protocol, analysed.dataset, analysed.overlap)
    assert again.version == analysed.model.version
    assert again.average == analysed.model.average


def test_the_evaluation_reads_only_the_table(analysed: Analysed) -> None:
    again, _, png = analysed.causal.evaluate("elsewhere", analysed.protocol, analysed.model)
    assert again.version == analysed.evaluation.version
    assert png.startswith(b"\x89PNG")
    assert analysed.evaluation.average.rows < analysed.overlap.kept / 2


def test_the_hidden_cause_refuses_the_effect_in_words_and_in_the_ledger(analysed: Analysed) -> None:
    assert not analysed.refutation.is_passed
    assert any(reason.startswith("negative_control_negative_control_outcome") for reason in analysed.refutation.reasons)
    verdict = analysed.causal.verdict_of(analysed.model)
    assert verdict is not None
    assert (verdict.gate, verdict.is_passed) == ("effect", False)
    assert verdict.reasons == analysed.refutation.reasons


def test_another_rule_or_another_code_asks_again(analysed: Analysed) -> None:
    stricter = analysed.causal.model_copy(
        update={"chosen": analysed.causal.chosen | {"refutation": {"draws": 50, "subset": 0.8}}}
    )
    assert stricter.verdict_of(analysed.model) is None
    assert stricter.overlap_key(analysed.protocol) == analysed.causal.overlap_key(analysed.protocol)
    wider = analysed.causal.chosen["overlap"] | {"density": [0.01, 100.0]}
    other = analysed.causal.model_copy(update={"chosen": analysed.causal.chosen | {"overlap": wider}})
    assert other.overlap_key(analysed.protocol) != analysed.causal.overlap_key(analysed.protocol)


def test_an_unknown_negative_control_is_named(analysed: Analysed) -> None:
    wrong = analysed.protocol.model_copy(update={"negative_controls": ("appendicitis",)})
    parts = (wrong, analysed.dataset, analysed.published, analysed.overlap, analysed.model, analysed.evaluation)
    with pytest.raises(ConfigurationError, match="patient_journeys of Kisqali has no column appendicitis"):
        analysed.causal.refute("r2", *parts, "a run", NOW)


def test_where_trimming_left_nobody_nothing_is_fitted(analysed: Analysed) -> None:
    narrow = analysed.causal.chosen["overlap"] | {"density": [0.999, 1.001]}
    causal = analysed.causal.model_copy(update={"chosen": analysed.causal.chosen | {"overlap": narrow}})
    overlap, report, _ = causal.overlap("narrow", analysed.protocol, analysed.dataset)
    assert {f.name for f in report.findings if f.blocks and not f.holds} >= {"enough_overlap"}
    with pytest.raises(CohortTooSmall, match=r"trimming left \d+ rows of the fit fold of Kisqali"):
        causal.fit("never", analysed.protocol, analysed.dataset, overlap)


LATER = NOW + timedelta(days=2)


def registered(analysed: Analysed, key: str = "m", shift: float = 0.0) -> tuple[ModelVersion, EffectParts]:
    """The effect, or one like it whose average lies elsewhere, in the registry."""
    average = analysed.evaluation.average
    moved = {end: getattr(average, end) + shift for end in ("value", "low", "high")}
    parts = analysed.parts._replace(
        model=analysed.model.model_copy(update={"key": key}),
        evaluation=analysed.evaluation.model_copy(update={"average": average.model_copy(update=moved)}),
    )
    pictures = analysed.causal.pictures(analysed.overlap, analysed.evaluation)
    version, _ = analysed.effects.register(parts, SCOPE, pictures, "a run", LATER)
    return version, parts


def decided(analysed: Analysed, version: ModelVersion, parts: EffectParts, is_passed: bool) -> PromotionRef:
    """The decision under a verdict."""
    stored = analysed.causal.verdict_of(analysed.model)
    assert stored is not None
    verdict: Verdict = stored.model_copy(update={"is_passed": is_passed, "reasons": () if is_passed else ("Broken.",)})
    return analysed.effects.promote(parts, version, verdict, "pipeline", "a run", LATER)


def test_a_refused_effect_is_registered_and_stays_in_development(analysed: Analysed) -> None:
    version, parts = registered(analysed)
    again, _ = registered(analysed)
    assert (version.name, version.stage) == ("e2i-Kisqali-effect", "development")
    assert again.version == version.version
    found = decided(analysed, version, parts, is_passed=False)
    assert (found.is_promoted, found.champion) == (False, None)
    assert found.reason == "Refused for use, so no effect is in use: Broken."
    rows = analysed.effects.metadata.rows
    [experiment] = rows("ml_experiments", prediction_target="effect of engagement_score on treatment_initiated")
    [run] = rows("ml_training_runs", training_key="m")
    [kept] = rows("ml_model_registry", training_key="m")
    assert experiment["scope_key"] == analysed.protocol.key
    assert (run["algorithm"], run["status"]) == ("linear_dml", "completed")
    assert kept["metrics"]["evaluation"]["value"] == analysed.evaluation.average.value


def test_effects_that_agree_follow_each_other_and_one_that_contradicts_waits_for_a_person(analysed: Analysed) -> None:
    first, parts = registered(analysed, "first")
    assert decided(analysed, first, parts, is_passed=True).is_promoted
    assert decided(analysed, first, parts, is_passed=True).reason == f"Version {first.version} is in use already."
    against, other = registered(analysed, "against", shift=-1.0)
    held = decided(analysed, against, other, is_passed=True)
    assert held.reason.startswith("It contradicts the effect in use")
    assert held.champion is not None
    assert held.champion.version == first.version
    agreeing, same = registered(analysed, "agreeing", shift=0.001)
    newer = decided(analysed, agreeing, same, is_passed=True)
    assert newer.champion is not None
    assert (newer.champion.version, newer.champion.stage) == (agreeing.version, "production")
    standing = analysed.effects.metadata.standing(first.name)
    assert standing.version == agreeing.version


def test_a_registered_effect_answers_with_interval_and_support(analysed: Analysed) -> None:
    import mlflow
    import pandas as pd

    version, _ = registered(analysed)
    uri = analysed.effects.mlflow.store_uri
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    source = client.get_model_version(version.name, version.version).source
    loaded = mlflow.pyfunc.load_model(source)
    answer = loaded.predict(pd.DataFrame({"disease_severity": [5.0, 50.0]}))
    assert list(answer) == ["effect", "effect_low", "effect_high", "is_supported"]
    assert answer["is_supported"].tolist() == [True, False]
    assert (answer["effect_low"] < answer["effect_high"]).all()
