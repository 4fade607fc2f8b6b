"""The commands after a run are complete by themselves."""

from e2i_pipeline.domain.next_steps import next_steps


def test_each_command_finds_the_state_folder_and_the_brand() -> None:
    steps = next_steps("Kisqali", " CONFIG=own.yaml", "/state/request.json", is_mlflow_local=True)

    assert steps.dagster_ui == "make dev CONFIG=own.yaml"
    assert steps.mlflow_ui == "make mlflow CONFIG=own.yaml"
    assert steps.serve == "make serve CONFIG=own.yaml BRAND=Kisqali"
    assert steps.again == "make run CONFIG=own.yaml BRAND=Kisqali"
    assert steps.summary == "make summary CONFIG=own.yaml BRAND=Kisqali"
    assert steps.ask.endswith("-d @/state/request.json")


def test_a_tracking_server_needs_no_command() -> None:
    assert next_steps("Kisqali", "", "r.json", is_mlflow_local=False).mlflow_ui == ""
