"""Sections on use: how to call the model, what was decided about it, its limits, where everything lies."""

import json
from typing import Any

from e2i_pipeline.domain.overrides import sentence
from e2i_pipeline.domain.report_data import ModelCardData, StageResults
from e2i_pipeline.domain.report_parts import Html, bullets, count, el, joined, note, pill, terms
from e2i_pipeline.domain.report_problem_sections import answer, meant_for, not_why, too_few

ENDPOINT = "http://127.0.0.1:3000"

EXAMPLES: dict[str, Any] = {"numeric": 1.0, "boolean": True, "categorical": "other"}


def use(data: ModelCardData) -> Html:
    """How to ask the model."""
    bento = data.bento
    row = {f.name: _example(data.example.get(f.name, EXAMPLES[f.kind]), f.kind) for f in data.training.features}
    body = json.dumps({"rows": [row]}, indent=1, ensure_ascii=False).replace("'", "\\u0027")
    call = f"curl {ENDPOINT}/predict \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    home = f"BENTOML_HOME={bento.location.partition('/bentos/')[0]} " if bento and "/bentos/" in bento.location else ""
    start = f"{home}bentoml serve {bento.tag}" if bento else "make serve"
    return joined(
        [
            terms({"Bento": el("code", bento.tag) if bento else "packaged after this card, from the same version"}),
            el("p", "Start it, then send rows; a feature that is not known is null or left out:"),
            el("pre", f"{start}\n\n{call}"),
            note(
                f"The answer holds {answer(data)} per row, with the model's name and version. /explain takes the same "
                "rows apart by feature; /predict_wire takes the platform's lists; the service describes itself at "
                "/docs.json. The values above are made up."
            ),
        ]
    )


def decision(data: StageResults) -> Html:
    """What was decided about promotion."""
    made = data.promotion
    if made is None:
        return el(
            "p",
            "Not yet made when this card was written: promotion follows the check that the Bento answers. The registry "
            f"holds this version as {data.version.stage}.",
        )
    label = pill("promoted", "good") if made.is_promoted else pill("not promoted", "warn")
    champion = made.champion
    serves = f"{champion.name} version {champion.version}" if champion else "no version"
    return joined([el("p", label, f" {made.reason}"), terms({"Serves now": serves})])


def limits(data: ModelCardData) -> Html:
    """What the model is for, what it is not for, and what speaks against its figures."""
    return joined(
        [
            el("h3", "Meant for"),
            bullets(
                [
                    meant_for(data),
                    "Support of people who decide; nobody should be denied anything because of a score.",
                ]
            ),
            el("h3", "Not meant for"),
            bullets(
                [
                    "Diagnosis, choice of therapy, or any decision about one patient without a professional.",
                    not_why(data),
                    "Other brands, other populations or another horizon.",
                ]
            ),
            el("h3", "Limits of these figures"),
            bullets([*found_limits(data), *data.limitations]),
        ]
    )


def found_limits(data: StageResults) -> list[str]:
    """The limits that follow from the rest of the page."""
    found: list[str] = []
    if data.source == "synthetic":
        found.append("The data are synthetic: the figures show that the pipeline works, not how well it would do.")
    found += [f"{sentence(verdict.override)}." for verdict in data.verdicts if verdict.override]
    if not data.evaluation.is_passed:
        found.append("The evaluation gate is not passed; the version is registered so that people can see why.")
    found += data.evaluation.warnings
    if few := too_few(data):
        found.append(few)
    if data.training.label_overlap:
        found.append(
            f"{count(data.training.label_overlap)} training labels were not yet known when the validation period "
            "began: a model trained at that time would have had fewer. splits.gap: horizon removes them."
        )
    if data.registry.left_out:
        found.append(f"{len(data.registry.left_out)} features could not be computed from this source (see Features).")
    if not data.study.is_reproducible:
        found.append("A time-out cut the search short, so it cannot be repeated exactly.")
    return [
        *found,
        "One chronological split, one training: the intervals tell of other patients, not of another training.",
    ]


def places(data: StageResults) -> Html:
    """Where everything lies, and by which keys it is found."""
    version = data.version
    known = {
        "Registered model": f"{version.name}, version {version.version}",
        "Model URI": version.model_uri,
        "MLflow run": version.mlflow_run_id,
        "Training key": version.key,
        "Dataset manifest": data.dataset.manifest,
        "Training dataset": data.training.location,
        "Evaluation": data.evaluation.location,
        "SHAP values": data.attribution.location,
        "Feature definitions": data.registry.definitions,
        "Bento": data.bento.location if data.bento else "",
        **data.places,
    }
    home = f"{data.home}/" if data.home else ""
    return joined(
        [
            terms({"State folder": el("code", data.home)}) if home else None,
            note("What follows lies in it, unless it says otherwise.") if home else None,
            terms({what: _place(where, data.links.get(where), home) for what, where in known.items() if where}),
        ]
    )


def _place(where: str, link: str | None, home: str) -> Html:
    shown = el("code", where.removeprefix(home), title=where if home and where.startswith(home) else None)
    return el("a", shown, href=link) if link else shown


def _example(value: Any, kind: str) -> Any:
    """A value as a request holds it: a frame keeps a boolean as 1.0 or 0.0."""
    return bool(value) if kind == "boolean" and value in (0, 1) else value
