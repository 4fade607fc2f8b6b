"""What `e2i features` does, as text and an exit status; the command line itself stands in `cli.py`."""

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.feature_contract_command import contract
from e2i_pipeline.record_commands import Answer


def add_feature_commands(commands: Any) -> None:
    """Adds `features` to the command line; its actions set `answer`, a function of options and settings.

    Args:
        commands: What `ArgumentParser.add_subparsers` gave.
    """
    features = commands.add_parser("features", help="look at features, or register one")
    actions = features.add_subparsers(required=True, metavar="action")
    statistics = _action(actions, "statistics", _statistics, "show what features look like on the train split")
    statistics.add_argument("--view", choices=tuple(ENTITIES), help="one view; by default all of them")
    statistics.add_argument("--brand", help="one brand; by default all of them")
    of_model = _action(
        actions, "contract", contract, "print the feature definitions that a model version was trained on, as JSON"
    )
    of_model.add_argument("--model", required=True, help="a registered model, e.g. e2i-Kisqali-conversion")
    of_model.add_argument("--version", required=True, help="its version, e.g. 3")
    register = _action(
        actions, "register", _register, "add a feature to your configuration, checked against the source"
    )
    register.add_argument("name", metavar="NAME", help="what the feature is to be called")
    register.add_argument("--table", required=True, choices=tuple(TABLES), help="source table")
    register.add_argument("--column", required=True, help="column of that table")
    register.add_argument("--dtype", required=True, choices=("numeric", "categorical", "boolean"))
    how = ("latest", "count", "sum", "mean", "min", "max")
    register.add_argument("--aggregation", choices=how, default="latest", help="how several rows become one value")
    register.add_argument("--window", type=int, help="count rows of the last so many days only")
    register.add_argument("--low", type=float, help="smallest value that makes sense")
    register.add_argument("--high", type=float, help="largest value that makes sense")
    register.add_argument("--file", type=Path, help="configuration file; by default the one that E2I_CONFIG names")
    register.add_argument("--dry-run", action="store_true", help="only check, and show what would be written")


def _action(actions: Any, name: str, answer: Any, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what)
    parser.set_defaults(answer=answer, brand=None)
    return parser


def _statistics(options: argparse.Namespace, chosen: Settings) -> Answer:
    from e2i_pipeline.defs.resources import build_resources
    from e2i_pipeline.domain.feature_statistics import figures, nulls_shown, rows_behind

    metadata: Any = build_resources(chosen)["metadata"]
    views = [options.view] if options.view else list(ENTITIES)
    rows = [row for view in views for row in metadata.get_feature_statistics(view, options.brand)]
    # A row without statistics was written by an explanation alone, before statistics were taken.
    rows = [row for row in rows if row["unique_count"] is not None]
    if not rows:
        return Answer("No feature statistics are recorded: materialize training_dataset first.", 1)
    lines = [
        {
            "brand": row["brand"],
            "view": row["feature_group"],
            "feature": row["feature"],
            **figures(row),
            "null": nulls_shown(row["null_rate"], rows_behind(row)),
            "values": f"{row['unique_count']:,}",
            "importance": "" if row["global_importance"] is None else f"{row['global_importance']:.3f}",
        }
        for row in rows
    ]
    return Answer(_table(lines))


def _register(options: argparse.Namespace, chosen: Settings) -> Answer:
    from e2i_pipeline.config.covariate_text import flow
    from e2i_pipeline.resources.feature_registration import register_feature, staged_tables

    names = ("name", "table", "column", "dtype", "aggregation", "window", "low", "high", "file", "dry_run")
    done = register_feature(
        chosen, staged_tables(chosen.state_dir), os.environ, **{name: getattr(options, name) for name in names}
    )
    feature = done.feature
    lines = [
        f"{feature.name}: {feature.description}",
        f"  view          {feature.view}, stored as {', '.join(done.stored)}",
        f"  kind          {feature.kind}",
        f"  entry         {flow(done.entry)}",
        *(f"  note          {note}" for note in done.notes),
    ]
    if done.is_there:
        return Answer("\n".join([*lines, "It is registered so already; nothing was changed."]))
    lines.append(f"{'Written to' if done.is_written else 'It would be written to'} {done.file}.")
    if done.is_new_file:
        lines.append(f"The file counts from when E2I_CONFIG names it: export E2I_CONFIG={done.file}")
    lines.append(
        "The next run computes it, joins it at each prediction time, trains on it and asks for it in requests: the "
        "feature tables of its view, the training dataset and the model are made anew."
    )
    return Answer("\n".join(lines))


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    """Rows of texts in columns."""
    listed = list(rows)
    widths = {name: max(len(name), *(len(row[name]) for row in listed)) for name in listed[0]}
    lines = [{name: name for name in widths}, *listed]
    return "\n".join("  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines)
