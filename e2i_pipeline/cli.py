"""The thin `e2i` command line over what exists. The Dagster CLI remains the way to run things.

`e2i run` calls it for the whole graph of one brand and shows one line a step; `e2i summary` says where the results
are; `e2i serve` starts the deployed Bento; `e2i dev` starts the UI; `e2i clean` removes old data; `e2i pseudonym`
hashes identifiers as landing does. What `e2i ledger` and `e2i gate` do stands in `record_commands.py`,
what `e2i source` does in `source_commands.py`, what `e2i features` does in `feature_commands.py`, what `e2i models`
does in `model_commands.py`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2i_pipeline.config.loader import PROJECT, settings
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.tables import NAMESPACES
from e2i_pipeline.errors import ConfigurationError, E2IError
from e2i_pipeline.feature_commands import add_feature_commands
from e2i_pipeline.model_commands import add_model_commands
from e2i_pipeline.record_commands import add_record_commands
from e2i_pipeline.source_commands import add_source_commands

_OWN_STORAGE = (
    "Dagster's default one shows a run that was killed as running for ever, and may find its database locked where "
    "several runs share it: take the section `storage` over from the repository's dagster.yaml, or name a server."
)

_SELECTIONS = {None: 'not group:"causal"', "causal": "*promoted_effect"}
"""What a run selects, by its stage: the causal one needs an extra, so that it is not part of the default run."""

_INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a command that a person stopped by Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0 when it did what was asked.
    """
    options = _parser().parse_args(arguments)
    try:
        chosen = settings()
        if "answer" in options:
            answer = options.answer(options, chosen)
            print(answer.text)
            return answer.status
        brand = _brand(options.brand, chosen)
        return options.command(brand, options, chosen)
    except E2IError as err:
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="e2i", description="The thin command line of the E2I pipeline.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command, what in (
        ("run", _run, "materialize the whole graph for one brand, then say where to look"),
        ("summary", _summary, "say where the last results are"),
        ("serve", _serve, "start the deployed model"),
        ("dev", _dev, "start the Dagster UI with the code location and the daemon"),
        ("clean", _clean, "remove old data that nothing refers to any more"),
    ):
        sub = commands.add_parser(name, help=what)
        sub.add_argument("--brand", help="a configured brand; by default the first")
        if name == "run":
            sub.add_argument(
                "--stage", choices=("causal",), help="a stage that is not part of the default run, with what it needs"
            )
        if name in ("serve", "dev"):
            sub.add_argument("--port", type=int, default=3000)
        if name == "clean":
            sub.add_argument("--dry-run", action="store_true", help="only say what would be removed, and what stays")
        sub.set_defaults(command=command)
    sub = commands.add_parser(
        "pseudonym", help="read identifiers, one a line, from standard input, and print their pseudonyms"
    )
    sub.add_argument("--namespace", choices=NAMESPACES, required=True, help="the kind of thing that they name")
    sub.set_defaults(command=_pseudonym, brand=None)
    add_record_commands(commands)
    add_source_commands(commands)
    add_feature_commands(commands)
    add_model_commands(commands)
    return parser


def _brand(asked: str | None, chosen: Settings) -> str:
    if asked is None:
        return chosen.brands[0]
    if asked not in chosen.brands:
        raise ConfigurationError(f"There is no brand {asked!r}. Configured brands: {', '.join(chosen.brands)}.")
    return asked


def _run(brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    what = f"the {options.stage} stage" if options.stage else "the whole graph"
    print(f"E2I pipeline: {what} for {brand}, source {chosen.source.kind}, state in {chosen.state_dir}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "e2i_pipeline.definitions"]
    command += [
        "--select",
        _SELECTIONS[options.stage],
        "--partition",
        brand,
        "--config-json",
        json.dumps({"loggers": {"progress": {}}}),
    ]
    # Dagster's command line is superseded by `dg launch`, which shows no progress yet; its note helps nobody here.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "DAGSTER_HOME": _dagster_home(chosen)}
    status = _wait_for(command, quiet)
    if status:
        how = "was interrupted" if status == _INTERRUPTED else f"failed (exit status {status})"
        print(f"\nThe run {how}. What was done stays; run again to go on from there.", file=sys.stderr)
        return status
    if options.stage:
        from e2i_pipeline.effect_summary import summarize_effect

        print(summarize_effect(brand, chosen))
        return 0
    return _summary(brand, options, chosen)


def _dagster_home(chosen: Settings) -> str:
    """Where Dagster keeps its records: where the environment says, else where `make` has it, set up as `make` does."""
    home = Path(os.environ.get("DAGSTER_HOME") or chosen.state_dir / "dagster")
    file, scratch = home / "dagster.yaml", home / f".dagster.yaml.{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            yaml = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
            scratch.write_text(yaml.replace("config: {}", f'config: {{base_dir: "{home}"}}'), encoding="utf-8")
            scratch.replace(file)
        elif "storage:" not in file.read_text(encoding="utf-8"):
            print(f"Note: {file} names no storage. {_OWN_STORAGE}", file=sys.stderr)
    except OSError as err:
        raise ConfigurationError(
            f"Dagster's folder {home} could not be set up: {err.strerror} ({err.filename}). Set E2I_STATE_DIR to a "
            "folder that this user may write, or DAGSTER_HOME to one that is set up."
        ) from err
    return str(home)


def _summary(brand: str, _options: argparse.Namespace, chosen: Settings) -> int:
    from e2i_pipeline.summary import summarize

    print(summarize(brand, chosen))
    return 0


def _serve(brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    file = Path(chosen.state_dir) / "deployment" / f"{brand}.json"
    if not file.is_file():
        print(f"Nothing is deployed for {brand}: run `make run BRAND={brand}` first.", file=sys.stderr)
        return 1
    from e2i_pipeline.serving.local_server import (
        clean_environment,
        read_deployment,
        require_free_port,
        require_in_store,
        serve_command,
    )

    deployed = read_deployment(file)
    tag, home = deployed["bento_tag"], deployed["bentoml_home"]
    require_in_store(tag, home)
    require_free_port(options.port)
    print(f"{tag} answers on http://127.0.0.1:{options.port} once it is up. Stop it with Ctrl-C.")
    sys.stdout.flush()
    status = _wait_for(serve_command(tag, options.port), clean_environment(home))
    return 0 if status == _INTERRUPTED else status


def _dev(_brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    from e2i_pipeline.serving.local_server import require_free_port

    require_free_port(options.port)  # `dagster dev` goes on without its UI where it cannot have the port
    environment = {**os.environ, "DAGSTER_HOME": _dagster_home(chosen)}
    print(f"The UI answers on http://127.0.0.1:{options.port} as soon as it is up. Stop it with Ctrl-C.")
    sys.stdout.flush()
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(options.port)]
    status = _wait_for([*command, "-w", str(PROJECT / "workspace.yaml")], environment)
    return 0 if status == _INTERRUPTED else status


def _pseudonym(_brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    """Identifiers come by standard input: an argument would stay in the shell's history and show in process lists."""
    from e2i_pipeline.domain.privacy import pseudonym
    from e2i_pipeline.resources.state_folder import StateFolder

    key = StateFolder(chosen.state_dir).existing_pseudonym_key()
    for line in sys.stdin:
        print(pseudonym(key, options.namespace, line.rstrip("\r\n")) or "")
    return 0


def _clean(_brand: str, options: argparse.Namespace, chosen: Settings) -> int:
    from e2i_pipeline.clean_up import clean_up

    print(clean_up(chosen, is_dry_run=options.dry_run))
    return 0


def _wait_for(command: list[str], environment: Mapping[str, str]) -> int:
    """Runs a command to its end. An interrupt reaches it too, and it is given the time to put things in order."""
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter, no shell
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    is_interrupted = False
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            is_interrupted = True
    return _INTERRUPTED if is_interrupted else process.returncode


if __name__ == "__main__":
    sys.exit(main())
