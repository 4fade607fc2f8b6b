"""Studies: what is found, that it is found again, and that a killed one goes on as if nothing had happened."""

import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureSpec
from e2i_pipeline.domain.algorithms import ALGORITHMS, fit_model
from e2i_pipeline.domain.metrics import auc
from e2i_pipeline.domain.search_space import suggest
from e2i_pipeline.domain.tuning import Tuning
from e2i_pipeline.errors import CohortTooSmall, ConfigurationError, ToolRejected
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_batches import KILLED, first_slot
from e2i_pipeline.resources.optuna_past import pruner_of, sampler_of
from e2i_pipeline.resources.optuna_records import StudyOutcome
from e2i_pipeline.resources.optuna_spaces import spaces_of
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows

TRAIN = modelling_rows(600, seed=1)
VALIDATION = modelling_rows(300, seed=2)
SPACE: dict[str, dict[str, Any]] = {
    "xgboost": {
        "n_estimators": {"low": 20, "high": 120},
        "max_depth": [2, 5],
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "subsample": [0.5, 1.0],
    },
    "logistic_regression": {"C": {"low": 1.0e-4, "high": 100.0, "log": True}},
}
ENDED = ("COMPLETE", "PRUNED", "FAIL")


def _optimize(
    folder: Path,
    n_trials: int = 25,
    *,
    name: str = "study",
    space: dict[str, dict[str, Any]] | None = None,
    features: tuple[FeatureSpec, ...] = FEATURES,
    seed: int = 3,
    metric: str = "auc",
    on_trial: Any = None,
    **settings: Any,
) -> StudyOutcome:
    storage = f"journal://{folder}/optuna/journal.log"
    resource = OptunaResource(storage=storage, **{"n_trials": n_trials, "n_jobs": 1, **settings})
    chosen = SPACE if space is None else space
    return resource.optimize(
        name,
        list(chosen),
        chosen,
        TRAIN,
        VALIDATION,
        features,
        metric=metric,
        direction={"auc": "maximize", "log_loss": "minimize"}[metric],
        seed=seed,
        early_stopping_rounds=15,
        attributes={"brand": "Kisqali"},
        on_trial=on_trial,
    )


def _search(outcome: StudyOutcome) -> list[tuple[Any, ...]]:
    """What was tried and found, by slot, without numbers and times."""
    return [(t.slot, t.state, t.value, t.algorithm, t.parameters) for t in outcome.history if t.state != "FAIL"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyOutcome:
    """A study that ran through."""
    return _optimize(tmp_path_factory.mktemp("whole"))


def test_a_study_finds_parameters_that_reach_its_value(whole: StudyOutcome) -> None:
    assert whole.trials["FAIL"] == 0
    assert whole.trials["COMPLETE"] + whole.trials["PRUNED"] == 25 == len(whole.history)
    assert whole.trials["PRUNED"] > 0
    assert {trial.algorithm for trial in whole.history} == set(SPACE)
    complete = [t for t in whole.history if t.state == "COMPLETE"]
    assert whole.best_value == max(t.value or 0 for t in complete if t.algorithm == whole.algorithm)
    assert whole.is_reproducible
    assert [t.slot for t in whole.history] == list(range(25))
    assert whole.seconds == pytest.approx(sum(t.seconds for t in whole.history))

    model = fit_model(
        whole.algorithm,
        whole.parameters,
        *TRAIN,
        FEATURES,
        training_key="k",
        brand="b",
        horizon_days=1,
        seed=3,
        threads=1,
    )
    assert auc(VALIDATION[1], model.predict(VALIDATION[0])) == whole.best_value


def test_of_several_algorithms_cross_validation_prefers_one(whole: StudyOutcome) -> None:
    chosen, other = whole.comparison

    assert (chosen.algorithm, chosen.is_chosen, other.is_chosen) == (whole.algorithm, True, False)
    assert chosen.mean >= other.mean
    assert len(chosen.folds) == len(other.folds) == 5
    assert chosen.trials + other.trials == 25
    assert chosen.best_value == whole.best_value
    assert set(whole.importances["xgboost"]) == set(SPACE["xgboost"])
    assert sum(whole.importances["xgboost"].values()) == pytest.approx(1)


def test_trials_of_a_batch_know_of_earlier_batches_alone(whole: StudyOutcome) -> None:
    """What an Optuna study of one's own finds that tells all results of a batch at its end."""
    tuning = Tuning(TRAIN, VALIDATION, FEATURES, metric="auc", seed=3, threads=1, early_stopping_rounds=15)
    spaces = spaces_of(list(SPACE), SPACE)
    study = optuna.create_study(direction="maximize", pruner=pruner_of("MedianPruner", spaces))

    def tried(trial: optuna.Trial) -> dict[str, Any]:
        name = trial.params["algorithm"]

        def on_step(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        parameters = {key.removeprefix(f"{name}."): v for key, v in trial.params.items() if key != "algorithm"}
        try:
            return {"values": tuning.fit(name, parameters, on_step if name == "xgboost" else None).value}
        except optuna.TrialPruned:
            return {"state": optuna.trial.TrialState.PRUNED}

    for batch_number in range(3):
        first, end = first_slot(batch_number, 8), first_slot(batch_number + 1, 8)
        study.sampler = sampler_of("TPESampler", int(content_key(3, first)[:8], 16))
        batch = [_asked(study, spaces) for _ in range(end - first)]
        results = [tried(trial) for trial in batch]
        for trial, result in zip(batch, results, strict=True):
            study.tell(trial, **result)
    assert [(t.state.name, t.value) for t in study.trials] == [(t.state, t.value) for t in whole.history[:20]]


def _asked(study: optuna.Study, spaces: dict[str, Any]) -> optuna.Trial:
    trial = study.ask()
    name = trial.suggest_categorical("algorithm", list(spaces))
    suggest(trial, spaces[name], f"{name}.")
    return trial


def test_the_same_study_from_scratch_finds_the_same(whole: StudyOutcome, tmp_path: Path) -> None:
    again = _optimize(tmp_path, name="another name")

    assert _search(again) == _search(whole)
    assert (again.algorithm, again.parameters, again.best_value) == (
        whole.algorithm,
        whole.parameters,
        whole.best_value,
    )


def test_a_finished_study_returns_at_once(tmp_path: Path) -> None:
    ran: list[int] = []
    first = _optimize(tmp_path, 5, on_trial=lambda trial: ran.append(trial["number"]))
    journal = (tmp_path / "optuna" / "journal.log").read_bytes()

    second = _optimize(tmp_path, 5, on_trial=lambda trial: ran.append(trial["number"]))

    assert sorted(ran) == [0, 1, 2, 3, 4]
    assert second == first
    assert (tmp_path / "optuna" / "journal.log").read_bytes() == journal


def test_a_study_asked_for_more_goes_on_and_asked_for_less_forgets(whole: StudyOutcome, tmp_path: Path) -> None:
    six = _optimize(tmp_path, 6)
    extended = _optimize(tmp_path, 25)

    assert _search(extended) == _search(whole)
    assert _optimize(tmp_path, 6) == six


_KILLED = """
import sys
from pathlib import Path
from e2i_pipeline_tests.resources.test_optuna import _optimize
_optimize(Path(sys.argv[1]), on_trial=lambda trial: print(trial["finished"], flush=True))
"""


def test_a_killed_study_ends_as_if_it_had_not_been(whole: StudyOutcome, tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "7":
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    done = _optimize(tmp_path)

    assert _search(done) == _search(whole)
    assert done.parameters == whole.parameters
    assert done.trials["COMPLETE"] + done.trials["PRUNED"] == 25
    assert set(done.failures) <= {KILLED}
    assert done.is_reproducible


def test_a_trial_found_running_is_failed_and_not_counted(tmp_path: Path) -> None:
    _optimize(tmp_path, 3)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna" / "journal.log"))
    study = optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))
    study.ask()

    outcome = _optimize(tmp_path, 5)

    assert outcome.trials["FAIL"] == 1
    assert outcome.trials["COMPLETE"] + outcome.trials["PRUNED"] == 5
    assert outcome.failures == {KILLED: 1}
    assert [(t.number, t.slot) for t in outcome.history if t.state == "FAIL"] == [(3, -1)]


def test_each_trial_is_told(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    outcome = _optimize(tmp_path, 12, on_trial=told.append)

    assert sorted(t["slot"] for t in told) == list(range(12))
    assert [t["finished"] for t in told] == list(range(1, 13))
    assert {t["n_trials"] for t in told} == {12}
    assert [t["value"] for t in sorted(told, key=lambda t: t["slot"])] == [t.value for t in outcome.history]
    assert told[-1]["best_value"] == max(t.value or 0 for t in outcome.history if t.state == "COMPLETE")
    assert all(set(SPACE[t["algorithm"]]) == set(t["parameters"]) for t in told)


def test_one_algorithm_is_not_asked_for(tmp_path: Path) -> None:
    space = {"logistic_regression": SPACE["logistic_regression"]}
    outcome = _optimize(tmp_path, 3, space=space, metric="log_loss", sampler="RandomSampler", pruner="NopPruner")

    assert outcome.algorithm == "logistic_regression"
    assert outcome.best_value == min(t.value or 9 for t in outcome.history)
    assert 0 < outcome.best_value < math.log(2)
    assert all(t.algorithm == "logistic_regression" for t in outcome.history)


def test_the_order_of_writing_decides_nothing(tmp_path: Path) -> None:
    turned = {name: dict(reversed(SPACE[name].items())) for name in reversed(SPACE)}
    assert _search(_optimize(tmp_path, 4)) == _search(_optimize(tmp_path, 4, name="turned", space=turned))


def test_hyperband_prunes_too(tmp_path: Path) -> None:
    space = {"xgboost": SPACE["xgboost"]}
    first = _optimize(tmp_path, 20, space=space, pruner="HyperbandPruner")
    assert first.trials["PRUNED"] > 0
    assert first.trials["COMPLETE"] > 0


def test_a_time_out_ends_the_study_for_good_unless_it_is_raised(tmp_path: Path) -> None:
    def count() -> int:
        return len(list((tmp_path / "optuna" / "journal.log").read_bytes().splitlines()))

    slow = {"xgboost": {"n_estimators": [4000], "learning_rate": [0.001], "max_depth": [6]}}
    cut = _optimize(tmp_path, 1000, space=slow, timeout=1, pruner="NopPruner")
    written = count()

    assert not cut.is_reproducible
    assert 1 <= cut.trials["COMPLETE"] < 1000
    assert _optimize(tmp_path, 1000, space=slow, timeout=1, pruner="NopPruner") == cut
    assert count() == written


def test_the_storage_keeps_what_the_study_is_about(tmp_path: Path) -> None:
    _optimize(tmp_path, 1)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna" / "journal.log"))
    study = optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))
    assert study.user_attrs["brand"] == "Kisqali"
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


WORKS_SOMETIMES = {"xgboost": {"n_estimators": [10], "subsample": [-0.5, 1.0]}}
NEVER_WORKS = {"xgboost": {"n_estimators": [10], "subsample": [-2.0, -1.0]}}


def test_failed_trials_are_counted_by_reason_and_do_not_count_as_finished(tmp_path: Path) -> None:
    outcome = _optimize(tmp_path, 15, space=WORKS_SOMETIMES, sampler="RandomSampler")

    assert outcome.trials["COMPLETE"] + outcome.trials["PRUNED"] == 15
    assert outcome.trials["FAIL"] > 0
    assert sum(outcome.failures.values()) == outcome.trials["FAIL"]
    assert all(reason.startswith("XGBoostError: value -0.") for reason in outcome.failures)
    assert outcome.is_reproducible
    assert Counter(t.state for t in outcome.history)["FAIL"] == outcome.trials["FAIL"]


def test_what_a_library_says_of_rows_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quoting(*_: Any, **__: Any) -> Any:
        raise ValueError("could not convert string to float: '1961-03-02'")

    monkeypatch.setattr(type(ALGORITHMS["logistic_regression"]), "fit", quoting)

    with pytest.raises(ToolRejected, match=r"none of its 12 trials worked: 12 x ValueError \(what it says is not"):
        _optimize(tmp_path, 5, space={"logistic_regression": SPACE["logistic_regression"]})
    assert b"1961" not in (tmp_path / "optuna" / "journal.log").read_bytes()


def test_a_study_whose_trials_all_fail_is_rejected_with_the_reasons(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    with pytest.raises(
        ToolRejected, match=r"none of its 12 trials worked: 1 x XGBoostError: value -1\.\d+ for Parameter"
    ):
        _optimize(tmp_path, 50, space=NEVER_WORKS, on_trial=told.append)
    assert [t["state"] for t in told] == ["FAIL"] * 12  # after ten, to the end of the batch
    assert math.isnan(told[0]["best_value"])


def test_what_on_trial_raises_is_no_failed_trial(tmp_path: Path) -> None:
    def refuse(trial: dict[str, Any]) -> None:
        raise ConnectionError("the caller's own trouble")

    with pytest.raises(ConnectionError, match="own trouble"):
        _optimize(tmp_path, 3, on_trial=refuse)
    assert _optimize(tmp_path, 3).trials["FAIL"] == 0


def test_a_name_that_stands_for_another_study_is_refused(tmp_path: Path) -> None:
    _optimize(tmp_path, 1)
    for change in (
        {"seed": 4},
        {"features": FEATURES[:3]},
        {"space": {"logistic_regression": SPACE["logistic_regression"]}},
        {"pruner": "NopPruner"},
        {"batch_size": 4},
    ):
        with pytest.raises(ConfigurationError, match=r"study study in journal:///.* was made over other data"):
            _optimize(tmp_path, 1, **change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "TPE"}, r"optuna\.study_defaults\.sampler: there is no 'TPE'\..*Known: TPESampler"),
        ({"pruner": "MedianPrunr"}, "Did you mean MedianPruner"),
        ({"n_trials": 0}, r"optuna\.search\.n_trials must be at least 1"),
        ({"batch_size": 0}, r"optuna\.search\.batch_size must be at least 1"),
        ({"timeout": 0}, r"optuna\.search\.timeout must be at least 1"),
        ({"space": {}}, r"optuna\.algorithms is empty"),
        ({"space": {"xgbost": {}}}, "Did you mean xgboost"),
        ({"space": {"xgboost": {"max_dept": [1, 2]}}}, "Did you mean max_depth"),
        ({"space": {"xgboost": {"max_depth": 3}}}, r"optuna\.search_space\.xgboost\.max_depth: 3 is no search space"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _optimize(tmp_path, **settings)
    assert not (tmp_path / "optuna").exists()


def test_a_direction_that_does_not_fit_the_metric_and_a_missing_space_are_refused(tmp_path: Path) -> None:
    resource = OptunaResource(storage=f"journal://{tmp_path}/journal.log")
    given: dict[str, Any] = {"seed": 1, "early_stopping_rounds": 5}
    with pytest.raises(ConfigurationError, match="auc is to maximize"):
        resource.optimize(
            "s", ["xgboost"], SPACE, TRAIN, VALIDATION, FEATURES, metric="auc", direction="minimize", **given
        )
    with pytest.raises(ConfigurationError, match="there is no 'f1'"):
        resource.optimize(
            "s", ["xgboost"], SPACE, TRAIN, VALIDATION, FEATURES, metric="f1", direction="maximize", **given
        )
    with pytest.raises(ConfigurationError, match="no entry for logistic_regression"):
        resource.optimize(
            "s",
            ["logistic_regression"],
            {"xgboost": {}},
            TRAIN,
            VALIDATION,
            FEATURES,
            metric="auc",
            direction="maximize",
            **given,
        )


def test_a_split_with_one_outcome_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    resource = OptunaResource(storage=f"journal://{tmp_path}/optuna/journal.log")
    with pytest.raises(CohortTooSmall, match="validation has 300 positives in 300 rows"):
        resource.optimize(
            "s",
            ["xgboost"],
            SPACE,
            TRAIN,
            (VALIDATION[0], VALIDATION[1] * 0 + 1),
            FEATURES,
            metric="auc",
            direction="maximize",
            seed=1,
            early_stopping_rounds=5,
        )
    assert not (tmp_path / "optuna").exists()
