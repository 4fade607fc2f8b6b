"""A Bento carries what serves and nothing else, and says what it needs."""

from pathlib import Path

import pytest

from e2i_pipeline.domain.algorithms import ALGORITHMS, dump_model
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.serving.build import CONTEXT, MODEL, ORDER_FILE, BuildOrder
from e2i_pipeline.serving.packaging import code_hash, lay_out, requirements, service_modules
from e2i_pipeline.serving.settings import SETTINGS_FILE, ServingSettings, read_settings
from e2i_pipeline_tests.serving.small_model import VERSION, small_model


def settings() -> ServingSettings:
    return ServingSettings(
        service="e2i-prediction-service",
        bento_tag="e2i-kisqali-conversion:1-a",
        model_tag="e2i-kisqali-conversion:1-a",
        model_name=VERSION.name,
        model_version=VERSION.version,
        brand=VERSION.brand,
        timeout=30,
        max_batch_size=100,
        max_latency_ms=100,
        manifest=small_model().manifest,
    )


def test_only_the_modules_that_serve_are_carried() -> None:
    modules = set(service_modules())
    for needed in ("__init__.py", "errors.py", "serving/bento.py", "serving/service.py", "domain/algorithms.py"):
        assert f"e2i_pipeline/{needed}" in modules
    for name in modules:
        assert name.split("/")[1] in ("__init__.py", "errors.py", "contracts", "domain", "serving")
    for unneeded in ("domain/report.py", "domain/synthetic.py", "serving/packaging.py", "serving/client.py"):
        assert f"e2i_pipeline/{unneeded}" not in modules


def test_the_code_hash_is_stable() -> None:
    assert code_hash("xgboost") == code_hash("xgboost") != code_hash("catboost")
    assert len(code_hash("xgboost")) == 32


def test_each_requirement_is_pinned_and_xgboost_is_named_once() -> None:
    found = requirements("xgboost")
    assert all("==" in requirement for requirement in found)
    assert sum(requirement.startswith("xgboost") for requirement in found) == 1


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_model_asks_for_the_library_of_its_algorithm_and_for_no_other(name: str) -> None:
    libraries = {"xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "random_forest": "xgboost"}
    found = {requirement.partition("==")[0].removesuffix("-cpu") for requirement in requirements(name)}
    assert found & {"xgboost", "lightgbm", "catboost"} == ({libraries[name]} if name in libraries else set())


def test_a_layout_holds_code_settings_model_and_order(tmp_path: Path) -> None:
    files = dump_model(small_model())
    lay_out(tmp_path, files, settings(), {"brand": "Kisqali"})
    assert (tmp_path / CONTEXT / "e2i_pipeline/serving/bento.py").is_file()
    assert {p.name: p.read_bytes() for p in (tmp_path / MODEL).iterdir()} == files
    assert read_settings(tmp_path / CONTEXT / SETTINGS_FILE) == settings()
    order = BuildOrder.model_validate_json((tmp_path / ORDER_FILE).read_bytes())
    assert (order.service, order.labels) == ("e2i_pipeline.serving.bento:service", {"brand": "Kisqali"})


def test_settings_that_are_missing_or_broken_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="by its tag"):
        read_settings(tmp_path / SETTINGS_FILE)
    (tmp_path / SETTINGS_FILE).write_text('{"service": "x", "timeout": 0}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="package the model again"):
        read_settings(tmp_path / SETTINGS_FILE)
