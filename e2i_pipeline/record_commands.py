"""What `e2i ledger` and `e2i gate` do, as text and an exit status; the command line itself stands in `cli.py`.

`ledger verify` and `ledger export` only read, and import none of the tools.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from e2i_pipeline.resources.ledger_audit import LedgerAudit

_SHORT = 12  # characters of a hash that people compare


class Answer(NamedTuple):
    """What a command has to say, and its exit status."""

    text: str
    status: int = 0


def add_record_commands(commands: Any) -> None:
    """Adds `ledger` and `gate` to the command line; each sets `answer`, a function of options and settings.

    Args:
        commands: What `ArgumentParser.add_subparsers` gave.
    """
    ledger = commands.add_parser("ledger", help="check the ledger of decisions, or hand it out")
    actions = ledger.add_subparsers(required=True, metavar="action")
    _action(actions, "verify", _verify, "find every edit, deletion, reorder or truncation")
    export = _action(actions, "export", _export, "write all entries as JSON or as a table")
    export.add_argument("--format", choices=("json", "table"), default="table")
    export.add_argument("--output", type=Path, help="a file; by default the terminal")

    gate = commands.add_parser("gate", help="answer for a table that the quality gate refused")
    actions = gate.add_subparsers(required=True, metavar="action")
    override = _action(actions, "override", _override, "let its present version pass; the ledger records who and why")
    override.add_argument("--table", required=True, help="the table that was refused, e.g. patient_journeys")
    override.add_argument("--brand", help="the brand, for training_dataset; by default the first")
    override.add_argument("--actor", required=True, help="who answers for it: your e-mail address")
    override.add_argument("--reason", required=True, help="why it may pass as it is")


def _action(actions: Any, name: str, answer: Any, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what)
    parser.set_defaults(answer=answer, brand=None)
    return parser


def _verify(_options: argparse.Namespace, chosen: Settings) -> Answer:
    audit = _audit(chosen)
    unread = "".join(f"; not read: {place}" for place in audit.unread)
    if findings := audit.findings():
        found = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        lines = [f"The ledger does not hold: {found}, in {len(audit.rows):,} entries{unread}."]
        lines += [f"  {finding}." for finding in findings]
        return Answer("\n".join([*lines, _NEXT]), 1)
    if not audit.rows:
        return Answer(f"The ledger is empty, and so is what was noted of it{unread}.")
    last = audit.rows[-1]
    anchors = ", ".join(f"{anchor.place} (entry {anchor.sequence:,})" for anchor in audit.anchors)
    return Answer(
        f"The ledger holds: {len(audit.rows):,} entries, head {last['hash'][:_SHORT]}; anchors checked: "
        f"{anchors}{unread}."
    )


_NEXT = (
    "What to do: keep the database and the anchors as they are, for they are the evidence. From the first number above "
    "on, compare with a copy that you trust (a backup of the metadata database, an earlier `e2i ledger export`), "
    "restore the database from it, and find out who could write to it. Where only a stored verdict is named, "
    "materialize its table with its checks: it is decided anew."
)


def _export(options: argparse.Namespace, chosen: Settings) -> Answer:
    from e2i_pipeline.metadata.ledger_export import as_json, as_table

    audit = _audit(chosen)
    if options.format == "json":
        text = json.dumps(as_json(audit.rows, audit.anchors), indent=1, ensure_ascii=False)
    else:
        text = as_table(audit.rows)
    if options.output is None:
        return Answer(text)
    try:
        options.output.write_text(text + "\n", encoding="utf-8")
    except OSError as err:
        raise ConfigurationError(
            f"The export cannot be written to {options.output}: {err.strerror}. Name a file in a folder that is there "
            "and that this user may write."
        ) from err
    return Answer(f"{len(audit.rows):,} entries written to {options.output}.")


def _override(options: argparse.Namespace, chosen: Settings) -> Answer:
    from e2i_pipeline.defs.resources import build_resources
    from e2i_pipeline.domain.overrides import sentence

    overrides: Any = build_resources(chosen)["overrides"]
    held = overrides.override(options.table, options.actor, options.reason, datetime.now(UTC), options.brand or "")
    failed = "\n".join(f"  {reason}" for reason in held.failed)
    return Answer(
        f"{sentence(held)}\nWhat had failed:\n{failed}\nIt holds for exactly this version, suite and gate "
        "configuration, and shows on the table and on what is made of it until the next clean audit. Run again to go "
        "on."
    )


def _audit(chosen: Settings) -> "LedgerAudit":
    from e2i_pipeline.defs.resources import build_resources
    from e2i_pipeline.resources.ledger_audit import LedgerAudit

    metadata: Any = build_resources(chosen)["metadata"]
    stores = chosen.stores
    return LedgerAudit(
        metadata,
        stores.metadata_url.get_secret_value(),
        stores.mlflow_tracking_uri.get_secret_value(),
        chosen.mlflow.experiment_prefix,
    )
