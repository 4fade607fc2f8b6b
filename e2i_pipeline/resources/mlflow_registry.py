"""Registered versions and their stages.

MLflow's own stages are gone from its interface and never knew `shadow` or `development`. Here a version's stage is its
tag `e2i.stage`; `staging`, `shadow` and `production` are aliases too, each of which names the one version that holds
the stage now. Who may promote what, and why, is decided elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.mlflow_connection import MlflowConnection
from e2i_pipeline.resources.mlflow_glance import Glance
from e2i_pipeline.resources.mlflow_models import model_location
from e2i_pipeline.resources.mlflow_runs import TRAINING_KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

DEVELOPMENT, STAGING, SHADOW, PRODUCTION, ARCHIVED = "development", "staging", "shadow", "production", "archived"

EDGES: dict[str, tuple[str, ...]] = {
    DEVELOPMENT: (STAGING, SHADOW, PRODUCTION, ARCHIVED),
    STAGING: (SHADOW, PRODUCTION, ARCHIVED),
    SHADOW: (PRODUCTION, ARCHIVED),
    PRODUCTION: (ARCHIVED,),
    ARCHIVED: (STAGING, SHADOW, PRODUCTION),  # a rollback: only to a stage that the version has held before
}
"""Where a version may go from each stage."""

ALIASES = (STAGING, SHADOW, PRODUCTION)
"""Stages that one version at a time holds, by an alias of the same name."""

STAGE, HAS_SERVED = "e2i.stage", "e2i.has_served"
"""Tags of a version: its stage, and whether it ever was in production; `_held` names that of another stage."""


class RegisteredVersion(NamedTuple):
    """A version as the registry shows it.

    Attributes:
        version: The version.
        aliases: Stages that it holds by an alias.
        tags: Its tags: verdicts, hashes, and whatever people have added.
        description: What it is, in words.
        created: When it was registered, in milliseconds since 1970 (UTC).
    """

    version: ModelVersion
    aliases: tuple[str, ...]
    tags: dict[str, str]
    description: str
    created: int


class MlflowRegistry(MlflowConnection):
    """Versions, stages and aliases."""

    def model_name(self, brand: str, model_type: str) -> str:
        """The registered name, e.g. `e2i-Kisqali-conversion`."""
        return self.model_name_pattern.format(brand=brand, model_type=model_type)

    def register_model(
        self,
        brand: str,
        model_type: str,
        run_id: str,
        model_uri: str,
        training_key: str,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> ModelVersion:
        """Registers a training's model as a version in `development`, or finds the version it has.

        A version counts as the training's while it is of this run and this model: where somebody deleted those, and
        they were made again, a new version is made of the new ones.

        Args:
            brand: The brand.
            model_type: `conversion`, `regression` or `effect`.
            run_id: The training's run.
            model_uri: What `log_model` gave.
            training_key: The training's key: one key, one version.
            tags: Tags of the version, e.g. its verdicts; one that is registered takes their present values.
            description: What the version is, in words.

        Returns:
            The version, in whatever stage it is by now.
        """
        name = self.model_name(brand, model_type)
        labels = {**self.default_tags, **(tags or {}), "brand": brand, TRAINING_KEY: training_key, STAGE: DEVELOPMENT}
        with self._client(f"register {model_uri} as {name}") as client, self._locked("registry"):
            _ensure_name(client, name)
            # a `models:/` source is resolved by MLflow's global tracking URI, whichever client asks (3.17)
            source = model_location(client, model_uri)
            found = _first_version(client, name, training_key, run_id, source)
            if found is None:
                made = client.create_model_version(
                    name,
                    source,
                    run_id,
                    tags=labels,
                    description=description or None,
                    model_id=model_uri.removeprefix("models:/") if model_uri.startswith("models:/m-") else None,
                )
                found = _first_version(client, name, training_key, run_id, source) or made
                if found.version != made.version:  # another machine was first
                    client.delete_model_version(name, made.version)
            else:
                _note(client, found, tags or {})
                if description and found.description != description:
                    client.update_model_version(name, found.version, description)
            return _reference(found)

    def note_version(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a version, those that have another value; not its stage, which moves along `EDGES`."""
        with self._client(f"note what is known of {name} version {version}") as client:
            _note(client, client.get_model_version(name, str(version)), tags)

    def check_move(self, name: str, version: str, stage: str) -> ModelVersion:
        """The version as it is, where it may move to a stage; nothing is changed.

        Raises:
            ToolRejected: As for `transition_model_stage`.
        """
        with self._client(f"look whether {name} version {version} may move to {stage}") as client:
            found = client.get_model_version(name, str(version))
            _check_edge(found, stage)
            return _reference(found)

    def describe(self, name: str, version: str) -> RegisteredVersion:
        """A version with all that the registry shows of it.

        Raises:
            ToolRejected: There is no such version.
        """
        with self._client(f"show {name} version {version}") as client:
            return _described(client.get_model_version(name, str(version)))

    def transition_model_stage(
        self, name: str, version: str, stage: str, archive_existing: bool = True
    ) -> ModelVersion:
        """Moves a version to a stage, along `EDGES`.

        Asking for the stage that it has completes a move that was cut short, and changes nothing otherwise.

        Args:
            name: Registered name.
            version: Version number.
            stage: Target stage.
            archive_existing: Whether versions that held the stage become archived. Otherwise they keep it as a tag,
                and lose the alias.

        Raises:
            ToolRejected: There is no such stage or version, or no such edge; or a rollback to a stage that the version
                never held.
        """
        with self._client(f"move {name} version {version} to {stage}") as client, self._locked("registry"):
            candidate = client.get_model_version(name, str(version))
            _check_edge(candidate, stage)
            if stage in ALIASES:
                client.set_registered_model_alias(name, stage, candidate.version)
            _set_stage(client, candidate, stage)
            if stage in ALIASES and archive_existing:
                for other in _versions(client, f"name = '{name}'"):
                    if other.version != candidate.version and other.tags.get(STAGE) == stage:
                        _set_stage(client, other, ARCHIVED)
            return _reference(client.get_model_version(name, candidate.version))

    def get_latest_model_version(self, name: str, stages: Sequence[str] = (PRODUCTION, STAGING)) -> ModelVersion | None:
        """The version of the first of these stages that has one; None where none has.

        Of a stage without an alias (`development`, `archived`) it is the newest version.
        """
        with self._client(f"look for the latest version of {name}") as client:
            versions = {str(v.version): v for v in _versions(client, f"name = '{_plain(name)}'")}
            holders = client.get_registered_model(name).aliases if versions else {}
            for stage in stages:
                if stage in ALIASES:
                    held = [v for number, v in versions.items() if number == str(holders.get(stage))]
                else:
                    held = [v for v in versions.values() if v.tags.get(STAGE) == stage]
                if held:
                    return _reference(max(held, key=lambda v: int(v.version)))
            return None

    def holder(self, name: str, stage: str) -> str | None:
        """Number of the version that holds a stage of `ALIASES`; None where none does.

        An SQLite store is only looked into, without importing MLflow.
        """
        if seen := Glance(self.tracking_uri).holder(name, stage):
            return seen.value
        held = self.get_latest_model_version(name, (stage,))
        return held.version if held else None

    def serving_trainings(self, stages: Sequence[str]) -> dict[str, str]:
        """Trainings with a version in one of these stages, by their key, with the version in words.

        MLflow is not imported: only an SQLite store is looked into, and of another one nothing is told. What the
        pipeline itself has put into a stage stands in `ml_model_registry` too.
        """
        seen = Glance(self.tracking_uri).staged(TRAINING_KEY, STAGE, stages) or []
        return {training_key: f"{name} version {version}" for training_key, name, version in seen}

    def search_models(self, pattern: str = "e2i-%", stages: Iterable[str] = ()) -> list[ModelVersion]:
        """Versions whose registered name is like an SQL pattern, ordered by name and version.

        Args:
            pattern: With `%` for any text.
            stages: Stages wanted; all of them when empty.
        """
        return [found.version for found in self.search_versions(pattern, stages)]

    def search_versions(self, pattern: str = "e2i-%", stages: Iterable[str] = ()) -> list[RegisteredVersion]:
        """As `search_models`, with all that the registry shows of each version; aliases are left out."""
        wanted = set(stages)
        with self._client(f"search for models like {pattern}") as client:
            found = [_described(version) for version in _versions(client, f"name LIKE '{_plain(pattern)}'")]
        chosen = (one for one in found if not wanted or one.version.stage in wanted)
        return sorted(chosen, key=lambda one: (one.version.name, int(one.version.version)))

    def has_version(self, version: ModelVersion) -> bool:
        """Whether the registry has this very version: name, number and training.

        An SQLite store is only looked into, without importing MLflow.
        """
        if seen := Glance(self.tracking_uri).version(version.name, version.version, TRAINING_KEY, version.key):
            return seen.value is not None
        with self._client(f"look for {version.name} version {version.version}") as client:
            query = f"name = '{_plain(version.name)}'"
            return any(
                str(v.version) == version.version and v.tags.get(TRAINING_KEY) == version.key
                for v in _versions(client, query)
            )


def _ensure_name(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as err:
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions(client: "MlflowClient", query: str) -> list["MlflowVersion"]:
    page = client.search_model_versions(query, max_results=1_000)
    found = list(page)
    while page.token:
        page = client.search_model_versions(query, max_results=1_000, page_token=page.token)
        found.extend(page)
    return found


def _first_version(
    client: "MlflowClient", name: str, training_key: str, run_id: str, source: str
) -> "MlflowVersion | None":
    same = [
        version
        for version in _versions(client, f"name = '{name}'")
        if (version.tags.get(TRAINING_KEY), version.run_id, version.source) == (training_key, run_id, source)
    ]
    return min(same, key=lambda v: int(v.version), default=None)


def _check_edge(version: "MlflowVersion", stage: str) -> None:
    present = version.tags.get(STAGE, DEVELOPMENT)
    allowed = EDGES.get(present, ())
    if present == ARCHIVED:
        allowed = tuple(held for held in allowed if version.tags.get(_held(held)) == "true")
    if stage not in (present, *allowed):
        raise ToolRejected(
            f"{version.name} version {version.version} is in {present} and cannot move to {stage}. From {present} it "
            f"may move to: {', '.join(allowed) or 'nothing, since it never held a stage'}."
        )


def _set_stage(client: "MlflowClient", version: "MlflowVersion", stage: str) -> None:
    """Sets the tag, and takes from the version the aliases of stages that it is not in."""
    client.set_model_version_tag(version.name, version.version, STAGE, stage)
    if stage in ALIASES:
        client.set_model_version_tag(version.name, version.version, _held(stage), "true")
    for alias in client.get_model_version(version.name, version.version).aliases:
        if alias in ALIASES and alias != stage:
            client.delete_registered_model_alias(version.name, alias)


def _held(stage: str) -> str:
    """The tag that says that a version has held a stage."""
    return HAS_SERVED if stage == PRODUCTION else f"{HAS_SERVED}_in_{stage}"


def _note(client: "MlflowClient", version: "MlflowVersion", tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if name != STAGE and version.tags.get(name) != value:
            client.set_model_version_tag(version.name, version.version, name, value)


def _described(version: "MlflowVersion") -> RegisteredVersion:
    return RegisteredVersion(
        version=_reference(version),
        aliases=tuple(alias for alias in version.aliases or () if alias in ALIASES),
        tags=dict(version.tags),
        description=version.description or "",
        created=int(version.creation_timestamp or 0),
    )


def _reference(version: "MlflowVersion") -> ModelVersion:
    return ModelVersion(
        key=version.tags.get(TRAINING_KEY, ""),
        brand=version.tags.get("brand", ""),
        name=version.name,
        version=str(version.version),
        mlflow_run_id=version.run_id or "",
        model_uri=f"models:/{version.name}/{version.version}",
        stage=version.tags.get(STAGE, DEVELOPMENT),
    )


def _plain(text: str) -> str:
    """A text for a filter in quotes, which MLflow offers no way to escape.

    Raises:
        ToolRejected: It has a quote in it.
    """
    if "'" in text:
        raise ToolRejected(f"A registered name or pattern must not contain a quote: {text}")
    return text
