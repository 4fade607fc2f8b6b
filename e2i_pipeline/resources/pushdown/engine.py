# ruff: noqa: TID253 - imported by functions that need Great Expectations, after it
"""GX's side: an execution engine that is given the values of metrics, and computes with pandas what it is not given.

All by GX's own means: a data source with an execution engine of its own, and providers of that engine for the metrics.
GX asks for metrics, judges by them, renders: none of that is changed. Which metrics are given, and how they are
computed, belongs in the modules beside this one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from great_expectations.core.id_dict import IDDict
from great_expectations.datasource.fluent.pandas_datasource import PandasDatasource
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metrics.metric_provider import MetricProvider
from great_expectations.expectations.registry import get_metric_kwargs, get_metric_provider, register_metric
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validation_graph import ValidationGraph

from e2i_pipeline.resources.pushdown.metrics import answered_names

Key = tuple[Any, ...]

_CONDITION = ".condition"


class SnapshotEngine(PandasExecutionEngine):
    """GX's pandas engine, but for the metrics that it is given the values of.

    Attributes:
        given: Values of metrics, by `key_of`.
        conditions: What the pandas engine found of each row, by `key_of` the metric: true where it is unexpected.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given: Mapping[Key, Any] = {}
        self.conditions: dict[Key, Any] = {}

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[MetricConfiguration],
        metrics: dict[Any, Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[Any, Any]:
        """GX's entry point; keeps what was found of each row, so that keys of rows can be looked up."""
        resolved = super().resolve_metrics(metrics_to_resolve, metrics, runtime_configuration)
        for metric in metrics_to_resolve:
            if metric.metric_name.endswith(_CONDITION) and metric.id in resolved:
                key = key_of(metric.metric_name, metric.metric_domain_kwargs, metric.metric_value_kwargs)
                self.conditions[key] = resolved[metric.id][0]
        return resolved


class SnapshotDatasource(PandasDatasource):
    """A data source whose data frame holds the columns that pandas is needed for; `add_e2i_snapshot` in a context."""

    execution_engine_override: ClassVar[type[SnapshotEngine]] = SnapshotEngine

    type: Literal["e2i_snapshot"] = "e2i_snapshot"  # pyright: ignore[reportIncompatibleVariableOverride]


def key_of(name: str, domain_kwargs: Mapping[str, Any], value_kwargs: Mapping[str, Any]) -> Key:
    """Names a metric of the only batch of a run: its id without the batch, the result format and what is not set."""
    domain = {k: v for k, v in domain_kwargs.items() if k != "batch_id" and v is not None}
    values = {k: v for k, v in value_kwargs.items() if k != "result_format" and v is not None}
    return (name, IDDict(domain).to_id(), IDDict(values).to_id())


def condition_key(metric: MetricConfiguration) -> Key:
    """The key, in `SnapshotEngine.conditions`, of what a metric `....unexpected_count` counts."""
    name = metric.metric_name.rpartition(".")[0] + _CONDITION
    return key_of(name, metric.metric_domain_kwargs, metric.metric_value_kwargs)


def metrics_of(kind: str, kwargs: Mapping[str, Any], result_format: Mapping[str, Any]) -> list[MetricConfiguration]:
    """The metrics that GX judges an expectation by.

    Args:
        kind: GX type.
        kwargs: Its keywords, parameters resolved.
        result_format: GX's `result_format` of the run.

    Raises:
        Exception: GX does not take the expectation, or asks about the data before it says.
    """
    engine = SnapshotEngine()
    expectation = ExpectationConfiguration(type=kind, kwargs=dict(kwargs)).to_domain_obj()
    wanted = expectation.get_validation_dependencies(
        execution_engine=engine, runtime_configuration={"result_format": dict(result_format)}
    )
    graph = ValidationGraph(execution_engine=engine)
    metrics = list(wanted.metric_configurations.values())
    for metric in metrics:
        graph.set_metric_configuration_default_kwargs_if_absent(metric_configuration=metric)
    return metrics


class _Given(MetricProvider):
    """A metric whose value may be given, so that nothing else is needed to compute it."""

    by_pandas: ClassVar[Any]

    @classmethod
    def _get_evaluation_dependencies(
        cls,
        metric: MetricConfiguration,
        configuration: Any = None,
        execution_engine: Any = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        key = key_of(metric.metric_name, metric.metric_domain_kwargs, metric.metric_value_kwargs)
        if key in execution_engine.given:
            return {}
        return cls.by_pandas.get_evaluation_dependencies(
            metric=metric,
            configuration=configuration,
            execution_engine=execution_engine,
            runtime_configuration=runtime_configuration,
        )


def _register(names: Iterable[str]) -> None:
    """Makes the engine the provider of metrics that GX's pandas engine provides."""
    pandas = PandasExecutionEngine()
    for name in names:
        provider, function = get_metric_provider(name, pandas)
        keys: Any = get_metric_kwargs(name)
        register_metric(
            metric_name=name,
            metric_domain_keys=keys["metric_domain_keys"],
            metric_value_keys=keys["metric_value_keys"],
            execution_engine=SnapshotEngine,
            metric_class=_provider(provider),
            metric_provider=_value(name, provider, function),
            metric_fn_type=getattr(function, "metric_fn_type", None),
        )


def _provider(by_pandas: Any) -> type[MetricProvider]:
    described = {
        "by_pandas": by_pandas,
        "domain_keys": by_pandas.domain_keys,
        "value_keys": by_pandas.value_keys,
        "default_kwarg_values": by_pandas.default_kwarg_values,
    }
    return type(f"Given{by_pandas.__name__}", (_Given,), described)


def _value(name: str, by_pandas: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    def value(
        cls: Any,
        execution_engine: SnapshotEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **further: Any,
    ) -> Any:
        del cls  # a provider of ours; the function knows its own
        key = key_of(name, metric_domain_kwargs, metric_value_kwargs)
        if key in execution_engine.given:
            return execution_engine.given[key]
        return function(
            cls=by_pandas,
            execution_engine=execution_engine,
            metric_domain_kwargs=metric_domain_kwargs,
            metric_value_kwargs=metric_value_kwargs,
            **further,
        )

    return value


_register(answered_names())
