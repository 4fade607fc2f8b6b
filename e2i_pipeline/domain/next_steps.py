"""What a person does after a run: the commands, in words and as they are typed.

Which arguments `make` needs stands in `config/make_arguments.py`; how the commands are shown belongs to the pages and
the summary.
"""

from typing import NamedTuple

UI = "http://127.0.0.1:3000"
MLFLOW_UI = "http://127.0.0.1:5000"
"""Where what `make` starts answers."""


class NextSteps(NamedTuple):
    """The commands after a run, each complete by itself.

    Attributes:
        dagster_ui: Starts the Dagster UI.
        mlflow_ui: Starts MLflow's UI; empty where a tracking server has its own.
        serve: Starts the deployed model.
        ask: Asks it, once it is up.
        again: Runs the graph again.
        summary: Says where the last results are.
    """

    dagster_ui: str
    mlflow_ui: str
    serve: str
    ask: str
    again: str
    summary: str


def next_steps(brand: str, arguments: str, request: str, is_mlflow_local: bool) -> NextSteps:
    """The commands after a run.

    Args:
        brand: The brand.
        arguments: What `make` must be told to find the configuration and the state folder; each after a space.
        request: Path of a request to the deployed model.
        is_mlflow_local: Whether MLflow's store is a local file, and not a server.
    """
    return NextSteps(
        dagster_ui=f"make dev{arguments}",
        mlflow_ui=f"make mlflow{arguments}" if is_mlflow_local else "",
        serve=f"make serve{arguments} BRAND={brand}",
        ask=f"curl -s {UI}/predict -H 'content-type: application/json' -d @{request}",
        again=f"make run{arguments} BRAND={brand}",
        summary=f"make summary{arguments} BRAND={brand}",
    )
