"""The tables of the first version: the eight `ml_*` tables, the gate's verdicts and the ledger.

Revision: 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "ml_data_quality_reports",
    "ml_deployments",
    "ml_experiments",
    "ml_feature_store",
    "ml_gate_verdicts",
    "ml_ledger",
    "ml_model_registry",
    "ml_observability_spans",
    "ml_shap_analyses",
    "ml_training_runs",
)

_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER ml_ledger_no_{change} BEFORE {change} ON ml_ledger "
        "BEGIN SELECT RAISE(ABORT, 'ml_ledger is append-only'); END"
        for change in ("update", "delete")
    ],
    "postgresql": [
        "CREATE FUNCTION ml_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'ml_ledger is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER ml_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ml_ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION ml_ledger_refuse()",
    ],
}


def upgrade() -> None:
    """Makes the tables, and lets the ledger grow only."""
    op.create_table(
        "ml_data_quality_reports",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("table_name", sa.String(255), nullable=False),
        sa.Column("split", sa.String(255), nullable=False),
        sa.Column("data_version", sa.String(64), nullable=False),
        sa.Column("suite", sa.String(255), nullable=False),
        sa.Column("suite_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("tested_rows", sa.BigInteger(), nullable=False),
        sa.Column("unexpected_rows", sa.BigInteger(), nullable=False),
        sa.Column("success_rate", sa.Double(), nullable=False),
        sa.Column("failed_expectations", sa.JSON(), nullable=False),
        sa.Column("completeness", sa.Double(), nullable=True),
        sa.Column("validity", sa.Double(), nullable=True),
        sa.Column("uniqueness", sa.Double(), nullable=True),
        sa.Column("consistency", sa.Double(), nullable=True),
        sa.Column("timeliness", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("leakage", sa.JSON(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("data_docs", sa.Text(), nullable=False),
        *_run_links(),
        sa.CheckConstraint(
            "status IN ('passed', 'failed', 'warning', 'skipped')", name=op.f("ck_ml_data_quality_reports_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_data_quality_reports")),
        sa.UniqueConstraint(
            "dagster_run_id",
            "table_name",
            "split",
            "data_version",
            "suite_hash",
            name="uq_ml_data_quality_reports_audit",
        ),
    )
    op.create_index("ix_ml_data_quality_reports_dagster_run_id", "ml_data_quality_reports", ["dagster_run_id"])
    op.create_index("ix_ml_data_quality_reports_data_version", "ml_data_quality_reports", ["data_version"])

    op.create_table(
        "ml_deployments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("model_name", sa.String(255), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("bento_tag", sa.String(255), nullable=True),
        sa.Column("environment", sa.String(255), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("previous_id", sa.String(64), nullable=True),
        sa.Column("rollback_reason", sa.Text(), nullable=False),
        sa.Column("latency_p50_ms", sa.Double(), nullable=True),
        sa.Column("latency_p95_ms", sa.Double(), nullable=True),
        sa.Column("latency_p99_ms", sa.Double(), nullable=True),
        sa.Column("error_rate", sa.Double(), nullable=True),
        sa.Column("status_changed_at", sa.DateTime(timezone=True), nullable=True),
        *_run_links(),
        sa.CheckConstraint(
            "status IN ('pending', 'deploying', 'active', 'draining', 'rolled_back', 'failed')",
            name=op.f("ck_ml_deployments_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_deployments")),
    )
    op.create_index("ix_ml_deployments_brand", "ml_deployments", ["brand"])
    op.create_index("ix_ml_deployments_dagster_run_id", "ml_deployments", ["dagster_run_id"])

    op.create_table(
        "ml_experiments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("prediction_target", sa.String(255), nullable=False),
        sa.Column("scope_key", sa.String(64), nullable=False),
        sa.Column("problem_type", sa.String(255), nullable=False),
        sa.Column("population", sa.Text(), nullable=False),
        sa.Column("observation_window_days", sa.Integer(), nullable=True),
        sa.Column("prediction_horizon_days", sa.Integer(), nullable=False),
        sa.Column("minimum_auc", sa.Double(), nullable=False),
        sa.Column("minimum_precision_at_k", sa.Double(), nullable=False),
        sa.Column("maximum_fpr", sa.Double(), nullable=False),
        sa.Column("capacity", sa.Double(), nullable=False),
        sa.Column("mlflow_experiment_id", sa.String(64), nullable=False),
        *_run_links(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_experiments")),
        sa.UniqueConstraint("brand", "prediction_target", name=op.f("uq_ml_experiments_brand_prediction_target")),
    )
    op.create_index("ix_ml_experiments_dagster_run_id", "ml_experiments", ["dagster_run_id"])

    op.create_table(
        "ml_feature_store",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("feature", sa.String(255), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("feature_group", sa.String(255), nullable=False),
        sa.Column("feature_type", sa.String(255), nullable=False),
        sa.Column("entity", sa.String(255), nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("mean", sa.Double(), nullable=True),
        sa.Column("std", sa.Double(), nullable=True),
        sa.Column("min", sa.Double(), nullable=True),
        sa.Column("max", sa.Double(), nullable=True),
        sa.Column("null_rate", sa.Double(), nullable=True),
        sa.Column("unique_count", sa.BigInteger(), nullable=True),
        sa.Column("histogram", sa.JSON(), nullable=True),
        sa.Column("global_importance", sa.Double(), nullable=True),
        sa.Column("importance_rank", sa.Integer(), nullable=True),
        *_run_links(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_feature_store")),
        sa.UniqueConstraint("brand", "feature", "version", name=op.f("uq_ml_feature_store_brand_feature_version")),
    )
    op.create_index("ix_ml_feature_store_dagster_run_id", "ml_feature_store", ["dagster_run_id"])
    op.create_index("ix_ml_feature_store_feature_group", "ml_feature_store", ["feature_group"])

    op.create_table(
        "ml_gate_verdicts",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("gate", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("data_version", sa.String(64), nullable=False),
        sa.Column("suite_hash", sa.String(64), nullable=False),
        sa.Column("gate_hash", sa.String(64), nullable=False),
        sa.Column("is_passed", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dagster_run_id", sa.String(64), nullable=False),
        sa.CheckConstraint(
            "gate IN ('data_quality', 'evaluation', 'infrastructure')", name=op.f("ck_ml_gate_verdicts_gate")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ml_gate_verdicts")),
    )
    op.create_index("ix_ml_gate_verdicts_dagster_run_id", "ml_gate_verdicts", ["dagster_run_id"])
    op.create_index(
        "ix_ml_gate_verdicts_subject_data_version_gate", "ml_gate_verdicts", ["subject", "data_version", "gate"]
    )

    op.create_table(
        "ml_ledger",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dagster_run_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_ml_ledger")),
        sa.UniqueConstraint("hash", name=op.f("uq_ml_ledger_hash")),
    )
    op.create_index("ix_ml_ledger_kind", "ml_ledger", ["kind"])
    op.create_index("ix_ml_ledger_subject", "ml_ledger", ["subject"])

    op.create_table(
        "ml_model_registry",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("training_key", sa.String(64), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("model_uri", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.String(255), nullable=False),
        sa.Column("auc", sa.Double(), nullable=True),
        sa.Column("pr_auc", sa.Double(), nullable=True),
        sa.Column("brier", sa.Double(), nullable=True),
        sa.Column("calibration_slope", sa.Double(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("fairness", sa.JSON(), nullable=False),
        sa.Column("stage", sa.String(255), nullable=False),
        sa.Column("is_champion", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stage_changed_at", sa.DateTime(timezone=True), nullable=True),
        *_run_links(),
        sa.CheckConstraint(
            "stage IN ('development', 'staging', 'shadow', 'production', 'archived')",
            name=op.f("ck_ml_model_registry_stage"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_model_registry")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_ml_model_registry_name_version")),
    )
    op.create_index("ix_ml_model_registry_dagster_run_id", "ml_model_registry", ["dagster_run_id"])
    op.create_index("ix_ml_model_registry_training_key", "ml_model_registry", ["training_key"])
    op.create_index(
        "uq_ml_model_registry_champion",
        "ml_model_registry",
        ["name"],
        unique=True,
        sqlite_where=sa.text("is_champion"),
        postgresql_where=sa.text("is_champion"),
    )

    op.create_table(
        "ml_observability_spans",
        sa.Column("span_id", sa.String(64), nullable=False),
        sa.Column("trace_id", sa.String(255), nullable=False),
        sa.Column("parent_span_id", sa.String(64), nullable=True),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("agent_name", sa.String(255), nullable=False),
        sa.Column("agent_tier", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(255), nullable=False),
        sa.Column("trace_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("model", sa.String(255), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("total_tokens", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("error", sa.String(255), nullable=True),
        sa.Column("is_fallback_used", sa.Boolean(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("export_state", sa.String(255), nullable=False),
        *_run_links(),
        sa.CheckConstraint(
            "export_state IN ('local', 'pending', 'sent', 'refused')",
            name=op.f("ck_ml_observability_spans_export_state"),
        ),
        sa.CheckConstraint(
            "kind IN ('agent', 'llm', 'metric', 'feedback')", name=op.f("ck_ml_observability_spans_kind")
        ),
        sa.PrimaryKeyConstraint("span_id", name=op.f("pk_ml_observability_spans")),
    )
    op.create_index("ix_ml_observability_spans_dagster_run_id", "ml_observability_spans", ["dagster_run_id"])
    op.create_index(
        "ix_ml_observability_spans_export_state_started_at", "ml_observability_spans", ["export_state", "started_at"]
    )
    op.create_index("ix_ml_observability_spans_trace_id", "ml_observability_spans", ["trace_id"])

    op.create_table(
        "ml_shap_analyses",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("attribution_key", sa.String(64), nullable=False),
        sa.Column("analysis_type", sa.String(255), nullable=False),
        sa.Column("segment", sa.String(255), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("model_name", sa.String(255), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("importances", sa.JSON(), nullable=False),
        sa.Column("interactions", sa.JSON(), nullable=True),
        sa.Column("local_values", sa.JSON(), nullable=True),
        sa.Column("base_value", sa.Double(), nullable=True),
        sa.Column("narrative", sa.Text(), nullable=False),
        sa.Column("key_drivers", sa.JSON(), nullable=False),
        sa.Column("actionable_features", sa.JSON(), nullable=False),
        sa.Column("method", sa.String(255), nullable=False),
        sa.Column("sample_size", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("location", sa.Text(), nullable=False),
        *_run_links(),
        sa.CheckConstraint(
            "analysis_type IN ('global', 'segment', 'local', 'local_realtime')",
            name=op.f("ck_ml_shap_analyses_analysis_type"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_shap_analyses")),
        sa.UniqueConstraint(
            "attribution_key",
            "analysis_type",
            "segment",
            name=op.f("uq_ml_shap_analyses_attribution_key_analysis_type_segment"),
        ),
    )
    op.create_index("ix_ml_shap_analyses_brand", "ml_shap_analyses", ["brand"])
    op.create_index("ix_ml_shap_analyses_dagster_run_id", "ml_shap_analyses", ["dagster_run_id"])

    op.create_table(
        "ml_training_runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("training_key", sa.String(64), nullable=False),
        sa.Column("optuna_trial", sa.Integer(), nullable=True),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("algorithm", sa.String(255), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("compute_type", sa.String(255), nullable=False),
        sa.Column("optuna_study", sa.String(255), nullable=False),
        sa.Column("model_uri", sa.Text(), nullable=False),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        *_run_links(),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'pruned', 'failed')", name=op.f("ck_ml_training_runs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_training_runs")),
    )
    op.create_index("ix_ml_training_runs_brand", "ml_training_runs", ["brand"])
    op.create_index("ix_ml_training_runs_dagster_run_id", "ml_training_runs", ["dagster_run_id"])
    op.create_index(
        "ix_ml_training_runs_training_key_optuna_trial", "ml_training_runs", ["training_key", "optuna_trial"]
    )

    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drops the tables with all that they hold."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ml_ledger_refuse()")


def _run_links() -> list[sa.Column]:
    return [
        sa.Column("dagster_run_id", sa.String(64), nullable=False),
        sa.Column("mlflow_run_id", sa.String(64), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    ]
