"""The composition root: each resource key, and the adapter behind it, from the settings of the chosen profile.

An address that may carry a password is handed over by the name of its environment variable, so that Dagster shows the
name. Nothing else in `defs/` reads the environment.
"""

import os
from typing import Any

import dagster as dg
from pydantic import SecretStr

from e2i_pipeline.config.loader import settings
from e2i_pipeline.config.make_arguments import make_arguments
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.progress import progress_logger
from e2i_pipeline.resources.bentoml import BentoResource
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.resources.great_expectations import GreatExpectationsResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.shap import ShapResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline.resources.stages.causal import CausalResource
from e2i_pipeline.resources.stages.comparison import ComparisonResource
from e2i_pipeline.resources.stages.deployment import DeploymentResource
from e2i_pipeline.resources.stages.effect_registry import MODEL_TYPE as EFFECT_TYPE
from e2i_pipeline.resources.stages.effect_registry import EffectRegistryResource
from e2i_pipeline.resources.stages.evaluation import EvaluationResource
from e2i_pipeline.resources.stages.explanation import ExplanationResource
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.overrides import OverrideResource
from e2i_pipeline.resources.stages.parity import ParityResource
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline.resources.stages.publication import PublicationResource
from e2i_pipeline.resources.stages.registry import RegistryResource
from e2i_pipeline.resources.stages.retention import RetentionResource
from e2i_pipeline.resources.stages.run_report import RunReportResource
from e2i_pipeline.resources.stages.sealed_test import SealedTestResource
from e2i_pipeline.resources.stages.stage_moves import StageMovesResource
from e2i_pipeline.resources.stages.training import TrainingResource
from e2i_pipeline.storage.references import ReferenceIOManager
from e2i_pipeline.storage.results import ResultStore

SUITES = {
    "patient_journeys": "e2i_patient_journeys",
    "treatment_events": "e2i_treatment_events",
    "hcp_profiles": "e2i_hcp_profiles",
    "engagement_events": "e2i_engagement_events",
}
"""The suite of each source table."""


@dg.definitions
def resources() -> dg.Definitions:
    """The resources, the executor and the loggers of the chosen profile."""
    chosen = settings()
    in_process = chosen.stores.step_isolation == "in_process"
    return dg.Definitions(
        resources=build_resources(chosen),
        executor=dg.in_process_executor if in_process else dg.multiprocess_executor,
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
    )


def build_resources(chosen: Settings) -> dict[str, object]:
    """One adapter per resource key.

    Args:
        chosen: The settings to build from.
    """
    state = str(chosen.state_dir)
    engine = EngineResource(temp_dir=f"{state}/spill")
    metadata = MetadataResource(
        url=_secret("E2I_METADATA_URL", chosen.stores.metadata_url),
        lock_dir=f"{state}/locks",
        anchor=f"{state}/ledger/anchor.json",
    )
    tools: dict[str, Any] = {
        "engine": engine,
        "metadata": metadata,
        "source": build_source(chosen, engine),
        "great_expectations": _great_expectations(chosen, engine),
        "feast": _feast(chosen, engine),
        "optuna": _optuna(chosen),
        "mlflow": _mlflow(chosen),
        "shap": ShapResource(**chosen.shap.model_dump()),
        "bentoml": BentoResource(home=str(chosen.stores.bentoml_home), state_dir=state, **chosen.bentoml.model_dump()),
        "opik": _opik(chosen, metadata),
    }
    return {
        "io_manager": ReferenceIOManager(root=f"{state}/references"),
        "results": ResultStore(root=f"{state}/references"),
        **tools,
        **_stages(chosen, tools),
    }


def _stages(chosen: Settings, tools: dict[str, Any]) -> dict[str, object]:
    """What combines several tools for one stage."""
    state = str(chosen.state_dir)
    cohort = chosen.cohort.model_dump(mode="json", exclude_none=True)
    files = ModelFilesResource(state_dir=state)
    modelling = ModellingResource(
        state_dir=state,
        engine=tools["engine"],
        feast=tools["feast"],
        cohort=cohort,
        target=chosen.target,
        problem_type=chosen.problem_type,
        prediction_lag_days=chosen.features.prediction_lag_days,
        source_columns={c.name: c.column for c in chosen.features.covariates},
    )
    statistics = FeatureStatisticsResource(engine=tools["engine"], metadata=tools["metadata"])
    shared = {"mlflow": tools["mlflow"], "metadata": tools["metadata"], "modelling": modelling, "files": files}
    gate = GateResource(
        state_dir=state,
        great_expectations=tools["great_expectations"],
        metadata=tools["metadata"],
        suites={**SUITES, "training_dataset": chosen.great_expectations.default_suites[chosen.problem_type]},
        parameters={"brands": chosen.brands, "cohort_unit": chosen.cohort.unit},
        as_of=chosen.as_of.isoformat() if chosen.as_of else "",
        modelling=modelling,
        max_row_drop=chosen.great_expectations.qc_gate.max_row_drop,
        evaluation=_evaluation(chosen),
    )
    sealed = SealedTestResource(
        metadata=tools["metadata"],
        modelling=modelling,
        maximum_candidates=chosen.evaluation.maximum_candidates,
    )
    comparisons = ComparisonResource(
        mlflow=tools["mlflow"],
        files=files,
        sealed=sealed,
        problem_type=chosen.problem_type,
        confidence=chosen.evaluation.bootstrap.confidence,
    )
    moves = StageMovesResource(
        mlflow=tools["mlflow"], metadata=tools["metadata"], state_dir=state, stage=chosen.promotion.stage
    )
    causal = CausalResource(
        engine=tools["engine"],
        files=files,
        metadata=tools["metadata"],
        chosen=chosen.causal.model_dump(mode="json"),
        seed=chosen.seed,
        threads=os.cpu_count() or 1,
    )
    return {
        "modelling": modelling,
        "statistics": statistics,
        "gate": gate,
        "parity": ParityResource(
            feast=tools["feast"],
            engine=tools["engine"],
            metadata=tools["metadata"],
            **chosen.feast.parity.model_dump(),
        ),
        "overrides": OverrideResource(state_dir=state, gate=gate, people=chosen.override.people, brands=chosen.brands),
        "publication": PublicationResource(
            state_dir=state,
            engine=tools["engine"],
            cohort=cohort,
            split_settings=chosen.splits.model_dump(mode="json", exclude_none=True),
            target=chosen.target,
        ),
        "retention": RetentionResource(
            state_dir=state, metadata=tools["metadata"], mlflow=tools["mlflow"], **chosen.retention.model_dump()
        ),
        "training": TrainingResource(
            optuna=tools["optuna"],
            algorithms=chosen.optuna.algorithms,
            search_space=chosen.optuna.search_space,
            metric=chosen.optuna.study_defaults.metric,
            direction=chosen.optuna.study_defaults.direction,
            early_stopping_rounds=chosen.optuna.early_stopping_rounds,
            warm_start=chosen.optuna.warm_start,
            selection_folds=chosen.optuna.selection_folds,
            seed=chosen.seed,
            recalibration=chosen.evaluation.recalibration.model_dump(mode="json"),
            statistics=statistics,
            **shared,
        ),
        "evaluations": EvaluationResource(
            sealed=sealed,
            comparisons=comparisons,
            settings=_evaluation(chosen),
            model_type=chosen.model_type,
            stage=chosen.promotion.stage,
            **shared,
        ),
        "promotions": PromotionResource(
            moves=moves,
            stage=chosen.promotion.stage,
            margin=chosen.promotion.min_absolute_change,
            significance=chosen.promotion.significance,
            comparisons=comparisons,
            dry_run=chosen.promotion.dry_run,
            **shared,
        ),
        "causal": causal,
        "registry": RegistryResource(
            moves=moves,
            gate=gate,
            bentoml=tools["bentoml"],
            causal=causal,
            people=chosen.override.people,
            names={brand: tools["mlflow"].model_name(brand, chosen.model_type) for brand in chosen.brands},
            effect_names={brand: tools["mlflow"].model_name(brand, EFFECT_TYPE) for brand in chosen.brands},
            state_dir=state,
        ),
        "effects": EffectRegistryResource(
            mlflow=tools["mlflow"],
            metadata=tools["metadata"],
            files=files,
            moves=moves,
            dry_run=chosen.promotion.dry_run,
        ),
        "explanation": ExplanationResource(
            shap=tools["shap"], gate=gate, seed=chosen.seed, source=chosen.source.kind, **shared
        ),
        "deployments": DeploymentResource(
            bentoml=tools["bentoml"],
            engine=tools["engine"],
            state_dir=state,
            environment=chosen.environment,
            **shared,
        ),
        "reports": RunReportResource(
            state_dir=state,
            engine=tools["engine"],
            files=files,
            gate=gate,
            metadata=tools["metadata"],
            source=chosen.source.kind,
            make_arguments=make_arguments(chosen, os.environ),
            is_mlflow_local=chosen.stores.mlflow_tracking_uri.get_secret_value().startswith("sqlite:"),
        ),
    }


def _evaluation(chosen: Settings) -> dict[str, Any]:
    """Everything that is configured about an evaluation."""
    return {
        "rules": chosen.evaluation.model_dump(mode="json"),
        "slice_floor": chosen.promotion.slice_floor,
        "margin": chosen.promotion.min_absolute_change,
        "significance": chosen.promotion.significance,
        "seed": chosen.seed,
    }


def _great_expectations(chosen: Settings, engine: EngineResource) -> GreatExpectationsResource:
    gate = chosen.great_expectations.qc_gate
    return GreatExpectationsResource(
        gx_root=str(chosen.stores.gx_root),
        data_docs=chosen.great_expectations.data_docs_site,
        checkpoint_store=chosen.great_expectations.checkpoint_store,
        min_pass_rate=gate.min_pass_rate,
        block_on_failure=gate.block_on_failure,
        critical_expectations=gate.critical_expectations,
        default_suites=chosen.great_expectations.default_suites,
        default_expectations=chosen.great_expectations.default_expectations.model_dump(),
        engine=engine,
    )


def _feast(chosen: Settings, engine: EngineResource) -> FeastResource:
    return FeastResource(
        repo=str(chosen.stores.feast_repo),
        config=chosen.stores.feast_config,
        registry=_secret("FEAST_REGISTRY_PATH", chosen.stores.feast_registry),
        project=chosen.feast.project,
        state_dir=str(chosen.state_dir),
        engine=engine,
    )


def _optuna(chosen: Settings) -> OptunaResource:
    search = chosen.optuna.search
    return OptunaResource(
        storage=_secret("OPTUNA_STORAGE_URL", chosen.stores.optuna_storage),
        sampler=chosen.optuna.study_defaults.sampler,
        pruner=chosen.optuna.study_defaults.pruner,
        n_trials=search.n_trials,
        batch_size=search.batch_size,
        timeout=search.timeout,
        n_jobs=search.n_jobs,
    )


def _mlflow(chosen: Settings) -> MlflowResource:
    return MlflowResource(
        tracking_uri=_secret("MLFLOW_TRACKING_URI", chosen.stores.mlflow_tracking_uri),
        artifact_root=chosen.stores.mlflow_artifact_root,
        experiment_prefix=chosen.mlflow.experiment_prefix,
        default_tags={**chosen.mlflow.default_tags, "environment": chosen.environment},
        model_name_pattern=chosen.mlflow.registry.model_name_pattern,
        **chosen.mlflow.circuit_breaker.model_dump(),
        lock_dir=f"{chosen.state_dir}/locks",
    )


def _opik(chosen: Settings, metadata: MetadataResource) -> OpikResource:
    return OpikResource(
        enabled=chosen.opik.tracing.enabled,
        sample_rate=chosen.opik.tracing.sample_rate,
        workspace=chosen.opik.workspace,
        project_name=chosen.opik.project_name,
        metadata=metadata,
        url=_given("OPIK_URL_OVERRIDE"),
        api_key=_given("OPIK_API_KEY"),
        **chosen.opik.spans.model_dump(),
    )


def build_source(chosen: Settings, engine: EngineResource) -> SourceResource:
    """The source of patient journeys."""
    source = chosen.source
    options = getattr(source, source.kind)  # the section of that name holds the kind's own settings
    return SourceResource(
        kind=source.kind,
        location=source.location or "",
        state_dir=str(chosen.state_dir),
        brands=chosen.brands,
        cohort=chosen.cohort.model_dump(mode="json", exclude_none=True),
        known_at=source.known_at.model_dump(mode="json", exclude_none=True),
        absent=source.absent.model_dump(mode="json", exclude_none=True),
        history=source.history.model_dump(mode="json"),
        tables={name: mapping.model_dump(mode="json") for name, mapping in source.tables.items()},
        url=_secret("E2I_SOURCE_URL", chosen.stores.source_url),
        options=options.model_dump(mode="json", exclude_none=True, by_alias=True),
        covariates=_covariate_columns(chosen),
        engine=engine,
    )


def _covariate_columns(chosen: Settings) -> dict[str, dict[str, str]]:
    """What covariates, an outcome of one's own and negative controls are made of, per table, with the type to land."""
    dtypes = {"numeric": "DOUBLE", "categorical": "VARCHAR", "boolean": "INTEGER"}
    columns: dict[str, dict[str, str]] = {}
    for covariate in chosen.features.covariates:
        columns.setdefault(covariate.table, {})[covariate.column] = dtypes[covariate.dtype]
    if chosen.target not in TABLES["patient_journeys"].names:
        kind = "numeric" if chosen.problem_type == "regression" else "boolean"
        columns.setdefault("patient_journeys", {})[chosen.target] = dtypes[kind]
    for outcome in chosen.causal.negative_controls:
        columns.setdefault("patient_journeys", {}).setdefault(outcome, dtypes["numeric"])
    return columns


def _given(variable: str) -> str:
    """A reference to a variable that the environment sets; empty where it does not."""
    return dg.EnvVar(variable) if os.environ.get(variable) else ""


def _secret(variable: str, value: SecretStr) -> str:
    """The value, or, where the environment gave it, a reference to the variable that Dagster shows by name only."""
    return dg.EnvVar(variable) if os.environ.get(variable) else value.get_secret_value()
