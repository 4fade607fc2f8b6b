"""What `e2i models` does, as text and an exit status; the command line itself stands in `cli.py`.

`champion` asks the ledger alone and imports none of the tools.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.record_commands import Answer

if TYPE_CHECKING:
    from e2i_pipeline.resources.stages.registry import Moved, RegistryResource

_VERDICTS = {"evaluation": ("e2i.evaluation", "e2i.effect"), "infrastructure": ("e2i.infrastructure",)}
"""What a column shows: an effect has the causal gate's verdict in place of an evaluation, and no Bento."""

_FIGURES = {"AUC": "e2i.test_auc", "RMSE": "e2i.test_rmse"}
_SHORT = 8  # characters of a training key that people compare


def add_model_commands(commands: Any) -> None:
    """Adds `models` to the command line; its actions set `answer`, a function of options and settings.

    Args:
        commands: What `ArgumentParser.add_subparsers` gave.
    """
    models = commands.add_parser("models", help="look at registered versions, promote, move or roll back one")
    actions = models.add_subparsers(required=True, metavar="action")
    listed = _action(actions, "list", _list, "list registered versions with their stages and verdicts")
    listed.add_argument("--pattern", default="%", help="registered names, with %% for any text; by default all")
    listed.add_argument("--stage", action="append", default=[], help="only versions in this stage; may be repeated")
    _version(_action(actions, "show", _show, "show a version: verdicts, hashes, and every decision on it"))
    stage = _action(actions, "stage", _stage, "move a version to another stage; the ledger records who and why")
    _version(stage)
    stage.add_argument("stage", metavar="STAGE", help="staging, shadow or archived")
    _person(stage)
    promote = _action(actions, "promote", _promote, "make a version the champion, where its verdicts allow it")
    _version(promote)
    _person(promote)
    promote.add_argument(
        "--override", action="store_true", help="answer for success criteria that are not met, or a refused effect"
    )
    rollback = _action(actions, "rollback", _rollback, "put a brand's champion before back")
    rollback.add_argument("--brand", required=True, help="a configured brand")
    _effect(rollback)
    _person(rollback)
    champion = _action(actions, "champion", _champion, "say who serves, or served on a date, by whom and why")
    champion.add_argument("--brand", help="a configured brand; by default the first")
    _effect(champion)
    champion.add_argument("--at", help="a date (its end counts, UTC), or a time as 2026-11-01T12:00+00:00")


def _action(actions: Any, name: str, answer: Any, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what)
    parser.set_defaults(answer=answer, brand=None)
    return parser


def _version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="registered name, e.g. e2i-Kisqali-conversion")
    parser.add_argument("version", metavar="VERSION", help="its number, e.g. 3")


def _effect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--effect", action="store_true", help="of the brand's effect in place of its model")


def _person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", required=True, help="who answers for it: your e-mail address")
    parser.add_argument("--reason", required=True, help="why; it goes into the ledger for good")


def _list(options: argparse.Namespace, chosen: Settings) -> Answer:
    registry = _registry(chosen)
    found = registry.moves.mlflow.search_versions(options.pattern, options.stage)
    if not found:
        where = f" in {' or '.join(options.stage)}" if options.stage else ""
        return Answer(f"No registered version is named like {options.pattern}{where}.", 1)
    serving = {name: registry.moves.metadata.standing(name).version for name in {one.version.name for one in found}}
    rows = [
        {
            "name": one.version.name,
            "version": one.version.version,
            "stage": one.version.stage,
            "serves": "yes" if serving[one.version.name] == one.version.version else "",
            **{name: next((one.tags[t] for t in tags if t in one.tags), "") for name, tags in _VERDICTS.items()},
            "on test": next((f"{n} {one.tags[tag]}" for n, tag in _FIGURES.items() if tag in one.tags), ""),
            "training": one.version.key[:_SHORT],
            "registered": datetime.fromtimestamp(one.created / 1_000, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for one in found
    ]
    return Answer(_table(rows))


def _show(options: argparse.Namespace, chosen: Settings) -> Answer:
    registry = _registry(chosen)
    one = registry.moves.mlflow.describe(options.name, options.version)
    standing = registry.moves.metadata.standing(options.name)
    facts = {
        "stage": one.version.stage,
        "serves": "yes" if standing.version == one.version.version else "no",
        "what it is": one.description,
        "training key": one.version.key,
        "mlflow run": one.version.mlflow_run_id,
        **{name: value for name, value in sorted(one.tags.items()) if name.startswith("e2i.") and name != "e2i.stage"},
    }
    if held := standing.held_back(one.version.version):
        facts["held back"] = held
    decisions = [m for m in registry.moves.metadata.moves(options.name) if m.version == one.version.version]
    lines = [f"{one.version.name} version {one.version.version}", *(f"  {n:24}{v}" for n, v in facts.items() if v)]
    lines.append("Decisions:" if decisions else "No decision on it is in the ledger.")
    for move in decisions:
        lines.append(f"  {move.kind}: {move.sentence}")
        lines += [f"    although: {reason}" for reason in move.facts.get("overridden", ())]
    return Answer("\n".join(lines))


def _stage(options: argparse.Namespace, chosen: Settings) -> Answer:
    who = (options.by, options.reason, datetime.now(UTC))
    moved = _registry(chosen).change_stage(options.name, options.version, options.stage, *who)
    is_gone = moved.before == moved.version.version
    if is_gone and moved.is_effect:
        return Answer(f"{moved.decision.sentence}\nNo effect of {moved.version.brand} is in use any more.")
    return Answer(f"{moved.decision.sentence}{_follow_up(moved) if is_gone else ''}")


def _promote(options: argparse.Namespace, chosen: Settings) -> Answer:
    who = (options.by, options.reason, datetime.now(UTC))
    moved = _registry(chosen).promote(options.name, options.version, *who, is_override=options.override)
    return Answer(f"{moved.decision.sentence}{_follow_up(moved)}")


def _rollback(options: argparse.Namespace, chosen: Settings) -> Answer:
    who = (options.by, options.reason, datetime.now(UTC))
    moved = _registry(chosen).rollback(options.brand, *who, is_effect=options.effect)
    held = f"\nVersion {moved.before} is not promoted again without a person." if moved.before else ""
    return Answer(f"{moved.decision.sentence}{held}{_follow_up(moved)}")


def _follow_up(moved: "Moved") -> str:
    if moved.is_effect:
        name, stage = moved.version.name, moved.version.stage
        return f"\nAn effect is not deployed: whoever loads models:/{name}@{stage} gets this version from now on."
    return (
        "\nWhat is deployed follows when deployment is materialized the next time: dagster asset materialize -m "
        f"e2i_pipeline.definitions --select 'deployment,batch_predictions' --partition {moved.version.brand}"
    )


def _champion(options: argparse.Namespace, chosen: Settings) -> Answer:
    registry, brand = _registry(chosen), options.brand or chosen.brands[0]
    at = _moment(options.at) if options.at else datetime.now(UTC)
    found = registry.champion_at(brand, at, is_effect=options.effect)
    when = f"at {at:%Y-%m-%d %H:%M} UTC" if options.at else "now"
    if found is None:
        name = registry.name(brand, is_effect=options.effect)
        return Answer(f"No version of {name} serves {when}, as far as the ledger tells.", 1)
    facts = {
        "since": f"{found.at:%Y-%m-%d %H:%M} UTC",
        "by": found.actor,
        "reason": found.reason,
        "instead of": f"version {found.champion_before}" if found.champion_before else "none",
        "ledger entry": f"{found.entry} ({found.kind})",
        "training key": found.facts.get("training_key", ""),
        "training dataset": found.facts.get("dataset_version", ""),
        "model sha256": found.facts.get("model_sha256", ""),
        "verdicts": json.dumps(found.facts.get("verdicts", {})),
    }
    lines = [f"Champion of {brand} {when}: {found.name} version {found.version}"]
    return Answer("\n".join([*lines, *(f"  {name:18}{value}" for name, value in facts.items() if value)]))


def _moment(text: str) -> datetime:
    """A date, in any form of ISO 8601, as the end of it, a time as it is; UTC where it names no zone."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no date: write it as 2026-11-01, or a time as 2026-11-01T12:00+00:00."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _registry(chosen: Settings) -> "RegistryResource":
    from e2i_pipeline.defs.resources import build_resources

    found: Any = build_resources(chosen)["registry"]
    return found


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    """Rows of texts in columns."""
    listed = list(rows)
    widths = {name: max(len(name), *(len(row[name]) for row in listed)) for name in listed[0]}
    lines = [{name: name for name in widths}, *listed]
    return "\n".join("  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines)
