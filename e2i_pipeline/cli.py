"""The thin `e2i` command line over what exists. The Dagster CLI remains the way to run things.

`e2i run` calls it for the whole graph of one brand and shows one line a step; `e2i summary` says where the results
are; `e2i serve` starts the deployed Bento.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from e2i_pipeline.config.loader import settings
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.errors import ConfigurationError, E2IError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0 when it did what was asked.
    """
    options = _parser().parse_args(arguments)
    try:
        chosen = settings()
        brand = _brand(options.brand, chosen)
        return options.command(brand, options, chosen)
    except E2IError as err:
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="e2i", description="The thin command line of the E2I pipeline.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command, what in (
        ("run", _run, "materialize the whole graph for one brand, then say where to look"),
        ("summary", _summary, "say where the last results are"),
        ("serve", _serve, "start the deployed model"),
    ):
        sub = commands.add_parser(name, help=what)
        sub.add_argument("--brand", help="a configured brand; by default the first")
        if name == "serve":
            sub.add_argument("--port", type=int, default=3000)
        sub.set_defaults(command=command)
    return parser


def _brand(asked: str | None, chosen: Settings) -> str:
    if asked is None:
        return chosen.brands[0]
    if asked not in chosen.brands:
        raise ConfigurationError(f"There is no brand {asked!r}. Configured brands: {', '.join(chosen.brands)}.")
    return asked


def _run(brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    print(f"E2I pipeline: the whole graph for {brand}, source {chosen.source.kind}, state in {chosen.state_dir}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "e2i_pipeline.definitions"]
    command += ["--select", "*", "--partition", brand, "--config-json", json.dumps({"loggers": {"progress": {}}})]
    # Dagster's command line is superseded by `dg launch`, which shows no progress yet; its note helps nobody here.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    status = subprocess.run(command, env=quiet, check=False).returncode  # noqa: S603 - our own interpreter, no shell
    if status:
        print(f"\nThe run failed (exit status {status}). What was done stays; run again to go on from there.")
        return status
    return _summary(brand, options, chosen)


def _summary(brand: str, _options: argparse.Namespace, chosen: Settings) -> int:
    from e2i_pipeline.summary import summarize

    print(summarize(brand, chosen))
    return 0


def _serve(brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    file = Path(chosen.state_dir) / "deployment" / f"{brand}.json"
    if not file.is_file():
        print(f"Nothing is deployed for {brand}: run `make run BRAND={brand}` first.", file=sys.stderr)
        return 1
    from e2i_pipeline.serving.local_server import clean_environment, serve_command

    deployed = json.loads(file.read_text(encoding="utf-8"))
    print(f"{deployed['bento_tag']} answers on http://127.0.0.1:{options.port} once it is up. Stop it with Ctrl-C.")
    sys.stdout.flush()
    command = serve_command(deployed["bento_tag"], options.port)
    environment = clean_environment(deployed["bentoml_home"])
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own interpreter, no shell


if __name__ == "__main__":
    sys.exit(main())
