"""Cleans up old data of the state folder, so that it does not grow for ever: versions of tables, and their manifests.

What may go is decided in `domain/retention.py`, from what is in use: published datasets, current references, runs at
work, the feature store's own tables, and the data behind each model that serves. Models, evaluations, cards, reports,
audits and scores are what a reviewer reads: none of them is ever removed. No tool is imported.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from e2i_pipeline.domain.retention import Decision, Root, Thing, counted, datasets_to_keep, decide, names_in
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.modelling import used_by_trainings
from e2i_pipeline.storage.keeping import take_away
from e2i_pipeline.storage.leases import Leases
from e2i_pipeline.storage.references import CURRENT, RUNS
from e2i_pipeline.storage.scratch import clear_abandoned, scratch_folder

MANIFEST = "manifest"
CONTRACT = "feature contract"
KINDS = {
    MANIFEST: "published/by-key",
    "staged snapshot": "staging/*",
    "split assignment": "published/assignments",
    "feature table": "features/*",
    "training dataset": "training/*",
    CONTRACT: "feast/contracts",
}
"""Where the versions of what may be removed lie, in the order of removal: what refers to others goes first."""

SERVING = ("staging", "shadow", "production")
"""Stages of a model version whose data stays."""

DEPLOYED = ("pending", "deploying", "active", "draining")
"""Statuses of a deployment that may still answer."""

_DAY = 86_400.0
_LISTED = 20


class Cleaned(NamedTuple):
    """What a clean-up did.

    Attributes:
        decision: What was decided; `removed` holds what is gone indeed.
        problem: Why nothing was looked at; empty where all went well.
    """

    decision: Decision
    problem: str = ""

    @property
    def metadata(self) -> dict[str, Any]:
        """The same for the asset after which it was done: how many things, and MiB."""
        figures = {"cleaned_up": len(self.decision.removed), "cleaned_up_mib": round(self.decision.size / 2**20, 3)}
        return {**figures, "clean_up_problem": self.problem} if self.problem else figures


NOTHING = Cleaned(Decision((), ()))


class RetentionResource(dg.ConfigurableResource):
    """Old data of this state folder.

    Attributes:
        state_dir: The state folder.
        metadata: Knows which model versions serve.
        mlflow: Knows so too; only its own file is looked into.
        published_datasets: Published datasets that stay readable besides the current one, >= 1.
        minimum_age_days: Days since a thing was made or last used before which it stays, >= 1.
    """

    state_dir: str
    metadata: MetadataResource
    mlflow: MlflowResource
    published_datasets: int
    minimum_age_days: int

    def look(self, now: datetime) -> Decision:
        """What `clean` would remove, and what keeps the rest. Reads only.

        Args:
            now: When (UTC).

        Raises:
            E2IError: The metadata database does not answer, so that nobody knows which models serve.
        """
        things = list(self._things(now))
        if not things:
            return Decision((), ())
        return decide(
            self._roots(things, now), [_weighed(self._root, thing) for thing in things], self.minimum_age_days
        )

    def clean(self, now: datetime) -> Cleaned:
        """Removes what nothing refers to and nobody has used for long.

        First the memory of it, then the thing itself, by a rename: it is there as a whole or not at all, also when the
        process is killed meanwhile. What a killed clean-up had moved away is removed too.

        Args:
            now: When (UTC).

        Raises:
            E2IError: As for `look`; nothing was removed.
        """
        self.clear_left_over()
        if all(_age_days(path, now) < self.minimum_age_days for _, path in self._places()):
            return NOTHING
        # the lock is let go first: what was moved away is removed while others publish
        with ExitStack() as moved_away, self._lock():
            decision = self.look(now)
            self._forget(decision.removed)
            removed = self._take_away(decision.removed, now, moved_away)
        return Cleaned(Decision(tuple(removed), decision.kept))

    def clean_after_publication(self, now: datetime, say: Callable[[str], None]) -> Cleaned:
        """As `clean`, for a run that has published: a trouble with old data must not fail it.

        Args:
            now: When (UTC).
            say: Is told what was removed, or why nothing was.
        """
        try:
            cleaned = self.clean(now)
        except (E2IError, OSError) as err:
            problem = str(err) if isinstance(err, E2IError) else f"{type(err).__name__}: {err.strerror}"
            say(f"Old data was not cleaned up; the next publication tries again. {problem}")
            return Cleaned(Decision((), ()), problem)
        removed = cleaned.decision.removed
        if removed:
            listed = ", ".join(thing.place for thing in removed[:_LISTED])
            more = f" and {len(removed) - _LISTED} more" if len(removed) > _LISTED else ""
            say(f"Cleaned up {counted(removed)}, which nothing refers to any more: {listed}{more}.")
        return cleaned

    def clear_left_over(self) -> None:
        """Removes what a killed process had moved away, or had begun to write and never finished."""
        for folder in self._folders():
            clear_abandoned(folder)

    @property
    def _root(self) -> Path:
        return Path(self.state_dir)

    def _lock(self) -> Any:
        from filelock import FileLock

        path = self._root / "locks" / "publication.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _folders(self) -> Iterator[Path]:
        for pattern in KINDS.values():
            yield from sorted(path for path in self._root.glob(pattern) if path.is_dir())

    def _places(self) -> Iterator[tuple[str, Path]]:
        """Kind and path of everything that could be removed at all."""
        for kind, pattern in KINDS.items():
            for path in sorted(self._root.glob(f"{pattern}/*")):
                if _is_name(path.stem if kind in (MANIFEST, CONTRACT) else path.name):
                    yield kind, path

    def _things(self, now: datetime) -> Iterator[Thing]:
        for kind, path in self._places():
            name, text = path.stem, _text(path) if kind == MANIFEST else b""
            yield Thing(
                place=str(path.relative_to(self._root)),
                name=name,
                kind=kind,
                age_days=_age_days(path, now),
                refers=names_in(text) - {name},
            )

    def _roots(self, things: Sequence[Thing], now: datetime) -> Iterator[Root]:
        published = names_in(_text(self._root / "published" / "manifest.json"))
        manifests = [thing for thing in things if thing.kind == MANIFEST]
        yield Root(what="the published dataset", refers=published)
        yield from datasets_to_keep(manifests, published, self.published_datasets)
        yield from self._model_roots(things)
        yield Root(what="the current references", refers=self._named_under("references", CURRENT))
        yield Root(what="runs at work", refers=self._named_by_runs(now))
        yield Root(what="the feature store", refers=self._named_by_feast())
        yield from self._contract_roots(things)

    def _named_under(self, *folder: str) -> frozenset[str]:
        paths = self._root.joinpath(*folder).rglob("*.json")
        return frozenset().union(*(names_in(_text(path)) for path in paths))

    def _named_by_feast(self) -> frozenset[str]:
        """What the feature store refers to; a contract is a record, which needs no table to be of use."""
        paths = self._root.glob("feast/*.json")
        return frozenset().union(*(names_in(_text(path)) for path in paths))

    def _contract_roots(self, things: Sequence[Thing]) -> Iterator[Root]:
        """The feature definitions of each registered version, whatever its stage; nothing else of its data."""
        contracts = frozenset(thing.name for thing in things if thing.kind == CONTRACT)
        if not contracts:
            return
        for row in self.metadata.rows("ml_model_registry"):
            texts = [_text(path) for path in used_by_trainings(self.state_dir, row["training_key"])]
            named = frozenset().union(*map(names_in, texts)) & contracts
            yield Root(what=f"the definitions of {row['name']} version {row['version']}", refers=named or frozenset())

    def _named_by_runs(self, now: datetime) -> frozenset[str]:
        """What runs refer to that are at work, or made something within the last day and may be."""
        runs = [path for path in self._root.glob(f"references/{RUNS}/*") if self._is_at_work(path, now)]
        return frozenset().union(*(self._named_under("references", RUNS, path.name) for path in runs))

    def _is_at_work(self, run: Path, now: datetime) -> bool:
        homes = {os.environ.get("DAGSTER_HOME") or "", str(self._root / "dagster")} - {""}
        leases = [Leases(Path(home) / "history" / "leases") for home in homes]
        return _age_days(run, now) < 1 or any(lease.is_held(run.name) for lease in leases)

    def _model_roots(self, things: Sequence[Thing]) -> Iterator[Root]:
        """The data behind each model version that serves; all of its brand's where that is not written down."""
        for training_key, what in sorted(self._serving().items()):
            texts = [_text(path) for path in used_by_trainings(self.state_dir, training_key)]
            if texts:
                yield Root(what=f"the data behind {what}", refers=frozenset().union(*map(names_in, texts)))
            else:
                all_data = frozenset(t.name for t in things if t.kind in (MANIFEST, "training dataset"))
                yield Root(what=f"{what}, whose data is not written down: all that it may be", refers=all_data)

    def _serving(self) -> dict[str, str]:
        """Each training whose model serves or may, by its key, with the version in words."""
        deployed = {
            (row["model_name"], row["model_version"])
            for row in self.metadata.rows("ml_deployments")
            if row["status"] in DEPLOYED
        }
        found = {
            row["training_key"]: f"{row['name']} version {row['version']}"
            for row in self.metadata.rows("ml_model_registry")
            if row["is_champion"] or row["stage"] in SERVING or (row["name"], row["version"]) in deployed
        }
        return {**self.mlflow.serving_trainings(SERVING), **found}

    def _forget(self, removed: Sequence[Thing]) -> None:
        """Removes what remembers these things, before they are removed: nobody is sent to what is gone."""
        names = {thing.name for thing in removed}
        if not names:
            return
        for pattern in ("references/results/**/*.json", "staging/*/keys/*.json"):
            for path in self._root.glob(pattern):
                if names & names_in(_text(path)):
                    path.unlink(missing_ok=True)

    def _take_away(self, things: Sequence[Thing], now: datetime, moved_away: ExitStack) -> list[Thing]:
        """Moves things into scratch places, which are removed when `moved_away` closes; gives those that it moved."""
        scratch: dict[Path, Path] = {}
        used_before = now.timestamp() - self.minimum_age_days * _DAY
        taken: list[Thing] = []
        for thing in things:
            path = self._root / thing.place
            if path.parent not in scratch:
                scratch[path.parent] = moved_away.enter_context(scratch_folder(path.parent))
            if take_away(path, scratch[path.parent] / path.name, used_before):
                taken.append(thing)
        return taken


def _is_name(text: str) -> bool:
    return len(text) == 32 and names_in(text.encode()) == {text}


def _age_days(path: Path, now: datetime) -> float:
    """Days since something was made or last used; 0 where another process has just removed it."""
    try:
        return max(0.0, now.timestamp() - path.stat().st_mtime) / _DAY
    except FileNotFoundError:
        return 0.0


def _text(path: Path) -> bytes:
    """The content of a file; nothing where it is gone."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _weighed(root: Path, thing: Thing) -> Thing:
    path = root / thing.place
    files = [path] if path.is_file() else path.rglob("*")
    try:
        return thing.model_copy(update={"size": sum(file.stat().st_size for file in files if file.is_file())})
    except FileNotFoundError:
        return thing
