"""The product as a user starts it, on a state folder of its own, and what it left behind.

Everything runs in child processes: nothing of the product is imported here.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.frame.bar import BarError
from benchmarks.frame.child import PROJECT, Child, run_python

BRAND = "Kisqali"
PSEUDONYM_KEY = "a key of the benchmarks, which keep no secret"
TOOLS = ("mlflow", "opik", "great_expectations", "feast", "optuna", "shap", "bentoml")
"""The seven tools, as modules."""

_WITNESS = Path(__file__).with_name("witness")


class Run(NamedTuple):
    """A run of the whole graph for one brand.

    Attributes:
        child: Its processes.
        seconds: From Dagster's start of the run to its end.
        assets: Asset to whether it said `unchanged`.
        steps: Step to seconds.
        imported: The tools that any of its processes imported.
    """

    child: Child
    seconds: float
    assets: Mapping[str, bool]
    steps: Mapping[str, float]
    imported: tuple[str, ...]


class Product:
    """The product over one state folder.

    Args:
        state: The state folder; made when absent.
        journeys: Journeys of each brand in the generated source.
    """

    def __init__(self, state: Path, journeys: int) -> None:
        self.state = state
        state.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "E2I_STATE_DIR": str(state),
            "E2I_PSEUDONYM_KEY": PSEUDONYM_KEY,
            "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": str(journeys),
            "DAGSTER_HOME": str(_dagster_home(state)),
        }

    def run(self, folder: Path) -> Run:
        """Runs `e2i run`, as `make run` does.

        Args:
            folder: For what its processes write beside the state folder.

        Raises:
            BarError: It failed.
        """
        said = folder / "imported"
        said.mkdir(parents=True)
        witness = {
            "PYTHONPATH": str(_WITNESS),
            "BENCH_WITNESS_FOLDER": str(said),
            "BENCH_WITNESS_MODULES": " ".join(("dagster", *TOOLS)),
        }
        child = run_python(folder, ["-m", "e2i_pipeline.cli", "run", "--brand", BRAND], {**self.environment, **witness})
        found = json.loads(run_python(folder, ["-m", "benchmarks.frame.dagster_run"], self.environment).out)
        if found["status"] != "SUCCESS":
            raise BarError(f"The run of the product ended as {found['status']}.")
        seen = {name for file in said.glob("*.json") for name in json.loads(file.read_text(encoding="utf-8"))}
        if "dagster" not in seen:
            raise BarError("No process of the run said what it had imported: the witness does not work here.")
        imported = tuple(tool for tool in TOOLS if tool in seen)
        return Run(child, found["seconds"], found["assets"], found["steps"], imported)

    def start_up(self, folder: Path) -> Child:
        """What each command of the product does first: loads the definitions and opens Dagster's instance."""
        program = (
            "import dagster as dg, e2i_pipeline.definitions as code\n"
            "code.defs()\n"
            "with dg.DagsterInstance.get() as instance: instance.get_runs_count()"
        )
        return run_python(folder, ["-c", program], {**self.environment, "PYTHONPATH": str(_WITNESS)})

    def reference(self, asset: str) -> dict[str, Any]:
        """What an asset returned last, as its JSON."""
        (path,) = (self.state / "references" / "current" / asset).iterdir()
        return json.loads(path.read_text(encoding="utf-8"))["reference"]

    def references_digest(self, but: str) -> str:
        """One hash over what all assets returned last, those of one asset apart."""
        root = self.state / "references" / "current"
        found = sorted(path for path in root.rglob("*.json") if path.relative_to(root).parts[0] != but)
        lines = [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _dagster_home(state: Path) -> Path:
    """Dagster's home within a state folder, set up as `make` does."""
    home = state / "dagster"
    if not home.is_dir():
        home.mkdir()
        yaml = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
        (home / "dagster.yaml").write_text(yaml.replace("config: {}", f'config: {{base_dir: "{home}"}}'))
    return home
