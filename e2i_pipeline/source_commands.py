"""What `e2i source` does, as text and an exit status; the command line itself stands in `cli.py`."""

import argparse
from typing import Any

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.record_commands import Answer


def add_source_commands(commands: Any) -> None:
    """Adds `source` to the command line; its actions set `answer`, a function of options and settings.

    Args:
        commands: What `ArgumentParser.add_subparsers` gave.
    """
    source = commands.add_parser("source", help="draft a configuration for tables of your own")
    actions = source.add_subparsers(required=True, metavar="action")
    what = "print a configuration for a folder of tables as YAML, for a person to correct"
    suggest = actions.add_parser("suggest", help=what, description=what)
    suggest.add_argument("location", help="the folder, or its URL (s3://bucket/drop)")
    suggest.set_defaults(answer=_suggest, brand=None)


def _suggest(options: argparse.Namespace, _chosen: Settings) -> Answer:
    import duckdb

    from e2i_pipeline.domain.suggestion import draft_tables
    from e2i_pipeline.domain.suggestion_yaml import draft_yaml
    from e2i_pipeline.resources.connectors.profiles import profile_folder

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        profiles = profile_folder(connection, options.location)
    return Answer(draft_yaml(draft_tables(profiles), profiles).rstrip("\n"))
