"""What the default graph costs beyond the tools: against one plain script that makes the same tool calls.

Both begin with nothing and end with the same model, metrics and scores. Start-up of both is left out: the product's
time is that from the start of Dagster's run to its end, the script's begins where what Dagster imports to get there is
imported. Each imports the tools when it first needs them, and that counts.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.frame.bar import Bar, Outcome, Room, beyond_per, ratio
from benchmarks.frame.child import run_python
from benchmarks.frame.product import BRAND, PSEUDONYM_KEY, TOOLS, Product

DIGITS = 9
"""Significant digits in which figures must agree: sums may be taken in another order, by another number of threads."""

_READ = """
import json, sys, duckdb
from benchmarks.plain_script.evaluation import digest
scores = dict(duckdb.sql(f"SELECT patient_journey_id, probability FROM '{sys.argv[1]}'").fetchall())
print(json.dumps({"rows": len(scores), "digest": digest(scores)}))
"""


def prepare(room: Room) -> None:
    """Writes the tools' bytecode, and brings their files into memory."""
    run_python(room.folder, ["-c", "import " + ", ".join((*TOOLS, "xgboost", "sklearn", "skops", "matplotlib.pyplot"))])


def product(room: Room) -> Outcome:
    """`e2i run` on an empty state folder."""
    over = Product(room.folder / "state", room.sizes["journeys per brand"])
    run = over.run(room.folder / "run")
    counts = {"asset": len(run.assets), **{f"{step}, s": seconds for step, seconds in run.steps.items()}}
    return Outcome(run.seconds, run.child.peak_mib, _rounded(_answer_of(over, room.folder / "read")), counts)


def reference(room: Room) -> Outcome:
    """The plain script in an empty folder."""
    made = room.folder / "made"
    made.mkdir()
    arguments = ["-m", "benchmarks.plain_script", str(made), BRAND, str(room.sizes["journeys per brand"])]
    child = run_python(room.folder / "run", arguments, {"E2I_PSEUDONYM_KEY": PSEUDONYM_KEY})
    said = json.loads((made / "answer.json").read_text(encoding="utf-8"))
    counts = {f"{stage}, s": seconds for stage, seconds in said["stages"].items()}
    return Outcome(said["seconds"], child.peak_mib, _rounded(said["answer"]), counts)


def _answer_of(over: Product, folder: Path) -> dict[str, Any]:
    """What the product's run came to, in the words of the script."""
    tuned, training = over.reference("hyperparameter_study"), over.reference("training_dataset")
    return {
        "study": {name: tuned[field] for name, field in _STUDY.items()},
        "trials": tuned["trials"],
        "metrics": over.reference("model_evaluation")["metrics"],
        "importance": over.reference("shap_analysis")["importance"],
        "expectations passed": _audits_of(over),
        "splits": training["split_counts"],
        "online rows": over.reference("online_features")["rows"],
        "predictions": _predictions_of(over, folder),
    }


_STUDY = {"algorithm": "algorithm", "parameters": "parameters", "best value": "best_value"}


def _audits_of(over: Product) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (over.state / "audits").glob("*/*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        passed = sum(outcome["status"] == "passed" for outcome in report["outcomes"])
        found[" ".join(filter(None, (report["table"], report["split"])))] = passed
    return found


def _predictions_of(over: Product, folder: Path) -> dict[str, Any]:
    location = over.reference("batch_predictions")["location"]
    return json.loads(run_python(folder, ["-c", _READ, location]).out)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in sorted(value.items())}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


BAR = Bar(
    name="step_overhead",
    limits=(ratio(1.15), beyond_per("asset", 0.5)),
    product="the default graph for one brand, from the start of Dagster's run to its end",
    reference="one plain script that makes the same tool calls on the same data",
    run_product=product,
    run_reference=reference,
    sizes={"journeys per brand": 20_000},
    quick_sizes={"journeys per brand": 1_500},
    pairs=3,
    quick_pairs=2,
    prepare=prepare,
)
