"""The pictures of a study."""

from e2i_pipeline.domain.study_plots import study_plots

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 150_000


def test_a_study_is_shown_by_three_pictures() -> None:
    trials = [
        (i, 0.6 + i / 1000, "xgboost", {"max_depth": i % 7, "eta": 10 ** -(i % 5), "policy": "ab"[i % 2]})
        for i in range(100)
    ]
    importances = {"xgboost": {"eta": 0.7, "max_depth": 0.2, "policy": 0.1}}

    pictures = study_plots(trials, importances, is_maximized=True)

    assert set(pictures) == {"history", "importances", "parallel coordinates"}
    assert all(png.startswith(PNG) and len(png) < LARGEST for png in pictures.values())
    assert (
        study_plots(trials, importances, is_maximized=False)["parallel coordinates"] != pictures["parallel coordinates"]
    )


def test_where_nothing_varies_there_is_a_history_alone() -> None:
    assert set(study_plots([(0, 0.6, "logistic_regression", {"C": 1.0})], {}, is_maximized=True)) == {"history"}
