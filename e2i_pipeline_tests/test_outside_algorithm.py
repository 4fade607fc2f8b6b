"""An algorithm of somebody's own, named by one variable, goes through the whole product without a change of it."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import AttributionRef, BentoRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.domain.outside import CARRIED_FILE
from e2i_pipeline_tests.processes import Product

MODULE = '''
"""Forests of a clinic's own."""

from typing import Any

from e2i_pipeline.domain.learners import RandomForest

from .settings import TREES


class ExtraTrees(RandomForest):
    """Extremely randomized trees (Geurts, Ernst and Wehenkel, 2006)."""

    name = "extra_trees"
    default_trees = TREES

    def estimator(self, problem_type: str) -> Any:
        from sklearn import ensemble

        return ensemble.ExtraTreesClassifier if problem_type == "classification" else ensemble.ExtraTreesRegressor
'''


SCORE = """
import json, sys
import pandas as pd
sys.path.insert(0, {code!r})
from e2i_pipeline.serving.mlflow_model import _load_pyfunc
assert sys.modules["e2i_pipeline"].__file__.startswith({code!r})
model = _load_pyfunc({files!r})
rows = pd.DataFrame(json.loads({rows!r}), columns=[feature.name for feature in model.model.manifest.features])
print(json.dumps(model.predict(rows).tolist()))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A graph that learns with it, up to the Bento, the explanation and the registry."""
    folder = tmp_path_factory.mktemp("outside")
    package = folder / "path" / "clinic"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "settings.py").write_text("TREES = 30\n", encoding="utf-8")
    (package / "unrelated.py").write_text("", encoding="utf-8")
    (package / "forests.py").write_text(MODULE, encoding="utf-8")
    product = Product(
        folder / "state",
        PYTHONPATH=str(folder / "path"),
        E2I_ALGORITHMS="clinic.forests:ExtraTrees",
        E2I__BRANDS="[Kisqali]",
        E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND="1200",
        E2I__OPTUNA__ALGORITHMS="[extra_trees]",
        E2I__OPTUNA__SEARCH_SPACE__EXTRA_TREES="{max_depth: [3, 8], min_samples_leaf: [2, 20]}",
        E2I__OPTUNA__SEARCH__N_TRIALS="3",
        E2I__GREAT_EXPECTATIONS__DATA_DOCS_SITE="''",
    )
    done = product.materialize("*shap_analysis,*bento", "Kisqali")
    assert done.status == 0, done.text
    return product


def test_it_is_tried_fitted_evaluated_registered_explained_and_served(ran: Product) -> None:
    resources = build_resources(load_settings(ran.environment))
    found = {
        name: resources["io_manager"].current(name, "Kisqali")  # type: ignore[attr-defined]
        for name in ("trained_model", "model_evaluation", "registered_model", "shap_analysis", "bento")
    }

    trained, evaluation, version = found["trained_model"], found["model_evaluation"], found["registered_model"]
    assert isinstance(trained, TrainedModelRef)
    assert trained.algorithm == "extra_trees"
    assert isinstance(evaluation, EvaluationRef)
    assert evaluation.metrics["test"]["auc"] > 0.6
    assert isinstance(version, ModelVersion)
    assert version.stage == "development"
    explained, bento = found["shap_analysis"], found["bento"]
    assert isinstance(explained, AttributionRef)
    assert explained.unit == "probability"
    assert sum(explained.importance.values()) == pytest.approx(1.0)
    assert isinstance(bento, BentoRef)
    carried = {path.relative_to(bento.location).as_posix() for path in Path(bento.location).rglob("*.py")}
    assert {"src/clinic/__init__.py", "src/clinic/forests.py", "src/clinic/settings.py"} <= carried
    assert "src/clinic/unrelated.py" not in carried
    with resources["bentoml"].serve(bento.tag) as url:  # type: ignore[attr-defined]
        golden = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))
        answers = httpx.post(f"{url}/predict", json={"rows": golden["rows"]}).json()
        [told] = httpx.post(f"{url}/explain", json={"rows": golden["rows"][:1]}).json()
    np.testing.assert_allclose([answer["probability"] for answer in answers], golden["scores"], atol=1e-12)
    assert told["unit"] == "probability"
    assert told["probability"] == pytest.approx(golden["scores"][0], abs=1e-12)  # recalibrated, as the margin is not
    assert told["margin"] == pytest.approx(told["base_value"] + sum(told["contributions"].values()), abs=1e-5)


def test_its_mlflow_model_scores_where_it_is_not_installed(ran: Product, tmp_path: Path) -> None:
    bento = build_resources(load_settings(ran.environment))["io_manager"].current("bento", "Kisqali")  # type: ignore[attr-defined]
    [carried] = ran.state.glob(f"mlflow/**/code/e2i_pipeline/domain/{CARRIED_FILE}")
    assert carried.read_text(encoding="utf-8") == "clinic.forests:ExtraTrees\n"
    package = carried.parents[3]
    golden = json.loads(Path(bento.golden_request).read_text(encoding="utf-8"))

    done = Product(tmp_path / "elsewhere").python(
        SCORE.format(code=str(package / "code"), files=str(package / "data" / "files"), rows=json.dumps(golden["rows"]))
    )

    assert done.status == 0, done.text
    np.testing.assert_allclose(json.loads(done.out), golden["scores"], atol=1e-12)
