"""What training hands on: the scope, the outcome of a study, the fitted model."""

from e2i_pipeline.contracts.base import Contract, Reference


class ExperimentScope(Reference):
    """What is to be predicted and when it counts as good enough; fixed before training.

    Attributes:
        brand: The brand (partition).
        target: Outcome column.
        problem_type: `classification` or `regression`.
        population: The cohort in words.
        observation_window_days: Days of history that features may use; None means all of it.
        prediction_horizon_days: Days after the index date in which the outcome counts.
        minimum_auc: Success criterion on the test split, 0.5..1.
        minimum_precision_at_k: Success criterion: precision among the top `capacity` share over the base rate, >= 0.
        maximum_fpr: Success criterion at the threshold that flags the top `capacity` share, 0..1.
        capacity: Share of journeys that a team can act on, 0..1.
        minimum_r2: Success criterion of a regression, at most 1; None asks for none.
        maximum_rmse: Success criterion of a regression, in the target's unit; None asks for none.
    """

    brand: str
    target: str
    problem_type: str
    population: str
    observation_window_days: int | None
    prediction_horizon_days: int
    minimum_auc: float
    minimum_precision_at_k: float
    maximum_fpr: float
    capacity: float
    minimum_r2: float | None = None
    maximum_rmse: float | None = None


class AlgorithmScore(Contract):
    """What cross-validation says of one algorithm with the parameters of its best trial.

    Attributes:
        algorithm: Name in `domain.algorithms`.
        mean: Mean of the metric over the folds.
        sd: Its standard deviation over the folds (n - 1); 0 for one fold.
        folds: The metric per fold.
        trials: Finished trials of the study that tried this algorithm.
        best_value: The best of their values on validation.
        is_chosen: Whether it is the algorithm to be fitted.
        is_within_noise: Whether its distance from the chosen one is no larger than the standard error of their
            differences fold by fold; true of the chosen one.
    """

    algorithm: str
    mean: float
    sd: float
    folds: tuple[float, ...]
    trials: int
    best_value: float
    is_chosen: bool = False
    is_within_noise: bool = False


class TuningResult(Reference):
    """The outcome of one hyperparameter study.

    Attributes:
        key: The training key: brand, dataset version, scope, search space, algorithms, code version and seed.
        brand: The brand (partition).
        study: Optuna study name.
        mlflow_run_id: The training's one MLflow run.
        mlflow_experiment_id: Its experiment.
        algorithm: Name of the best algorithm in `domain.algorithms`.
        parameters: Its best parameters.
        metric: Name of the optimized metric.
        best_value: Its value on the validation split.
        trials: Number of trials per state: `COMPLETE`, `PRUNED`, `FAIL`.
        seconds: Wall-clock seconds of the study.
        is_reproducible: False when a time-out cut the study short.
        comparison: The algorithms as cross-validation ranks them; empty for one algorithm.
        warm_started_from: Training dataset version whose study gave the first trials; empty for none.
    """

    brand: str
    study: str
    mlflow_run_id: str
    mlflow_experiment_id: str
    algorithm: str
    parameters: dict[str, bool | int | float | str | None]
    metric: str
    best_value: float
    trials: dict[str, int]
    seconds: float
    is_reproducible: bool
    comparison: tuple[AlgorithmScore, ...] = ()
    warm_started_from: str = ""


class TrainedModelRef(Reference):
    """The model fitted with the study's best parameters, as files in open formats.

    Attributes:
        key: The training key.
        brand: The brand (partition).
        algorithm: Name in `domain.algorithms`.
        location: Folder that holds `model.json` and the files it names.
        version: SHA-256 over the files.
        mlflow_run_id: The training's MLflow run.
        model_uri: The MLflow URI of the logged model.
        fit_rows: Rows the model was fitted on.
        seconds: Wall-clock seconds of the fit.
    """

    brand: str
    algorithm: str
    location: str
    version: str
    mlflow_run_id: str
    model_uri: str
    fit_rows: int
    seconds: float
