"""How Feast is reached: the environment that its files read, the store, the repository's objects, its failures.

What is asked of Feast stands in `feast.py`; what is applied stands in `feature_repo/`, which is read as Feast's own
command line reads it, and never imported by name.
"""

import atexit
import contextlib
import functools
import importlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.errors import ConfigurationError, E2IError, ToolRejected, ToolUnavailable
from e2i_pipeline.resources.engine import file_sha256
from e2i_pipeline.resources.feast_config import DEFAULTS, offline_kind, read_config
from e2i_pipeline.resources.feast_definitions import require_bounds

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.repo_contents import RepoContents

_logger = logging.getLogger(__name__)
_GLOBALS = threading.RLock()  # the environment and the module table are one per process

_SETUP = {"FEAST_USAGE": "False"}


class FeastRepository:
    """A Feast repository and the stores that its configuration names.

    Args:
        folder: Folder of the repository.
        config: Name of the configuration file in it.
        environment: The variables that the configuration and the repository read. All must be set: Feast leaves an
            unset one as it stands.
    """

    def __init__(self, folder: str | Path, config: str, environment: Mapping[str, str]) -> None:
        self.folder = Path(folder).absolute()
        self.config = self.folder / config
        defaults = {name: value for name, value in DEFAULTS.items() if not os.environ.get(name)}
        self._environment = {**_SETUP, **defaults, **environment}

    def digest(self) -> str:
        """Hash of what a person wrote: the repository's modules and its configuration.

        Raises:
            ConfigurationError: There is no repository.
        """
        if not self.config.is_file():
            raise ConfigurationError(
                f"The Feast configuration {self.config} is not there. FEAST_REPO_PATH must name the feature "
                "repository, and E2I_FEAST_CONFIG one of its feature_store*.yaml."
            )
        return content_key({path.name: file_sha256(path) for path in [*self._modules(), self.config]})

    def settings(self) -> dict[str, Any]:
        """The configuration with its variables replaced; Feast is not imported. It holds secrets.

        Raises:
            ConfigurationError: It cannot be read, or variables that it needs are not set.
        """
        return read_config(self.config, self._environment)

    def open(self, reads_versions: bool = False) -> "FeatureStore":
        """Opens the store; Feast is imported by the first call (about 5 s).

        Args:
            reads_versions: Whether pinned services can be read, offline. Never for the online store: there Feast 0.67
                writes a view's later version to a table of its own, and reads it from the first one.

        Raises:
            ConfigurationError: As `settings`, or Feast does not accept the configuration.
        """
        settings = self.settings()
        if isinstance(settings.get("registry"), dict):
            settings["registry"]["enable_online_feature_view_versioning"] = reads_versions
        with self._globals():
            from feast import FeatureStore, RepoConfig
            from pydantic import ValidationError

            _disconnect_at_exit()
            try:
                config = RepoConfig(**settings)
            except ValidationError as err:
                wrong = ", ".join(".".join(map(str, e["loc"])) for e in err.errors(include_input=False))
                raise ConfigurationError(
                    f"Feast does not accept the configuration {self.config.name}: see {wrong or 'the whole of it'}."
                ) from None  # its message may hold a secret
            config.repo_path = self.folder
            return FeatureStore(repo_path=str(self.folder), config=config)

    def apply(self, store: "FeatureStore") -> None:
        """Applies the repository as `feast apply` does: what it no longer names is deleted from the registry."""
        from feast.repo_operations import apply_total_with_repo_instance

        with self._globals():
            contents = self._contents(store)
            require_bounds(contents.feature_views, offline_kind(self.settings()))
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                apply_total_with_repo_instance(
                    store, store.project, store.registry, contents, skip_source_validation=False
                )
                # Feast writes down what it made for its own SQLite store only; `feast plan` would list it as missing
                *_, made = store.plan(contents, skip_feature_view_validation=True)
                store.registry.update_infra(made, store.project)
        changes = [line for line in said.getvalue().splitlines() if line.startswith(("Created", "Updated", "Deleted"))]
        _logger.info("feast apply: %s", "; ".join(map(str.strip, changes)) or "no change")
        store.refresh_registry()

    def _contents(self, store: "FeatureStore") -> "RepoContents":
        """The Feast objects that the repository's modules define, each once."""
        from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView, Project
        from feast.data_source import DataSource
        from feast.feature_view import DUMMY_ENTITY
        from feast.repo_contents import RepoContents

        found = list({id(o): o for module in self._load() for o in vars(module).values()}.values())
        return RepoContents(
            projects=[Project(name=store.project, description=store.config.project_description or "")],
            data_sources=[o for o in found if isinstance(o, DataSource)],
            feature_views=[o for o in found if isinstance(o, FeatureView)],
            on_demand_feature_views=[o for o in found if isinstance(o, OnDemandFeatureView)],
            stream_feature_views=[],
            label_views=[],
            entities=[*(o for o in found if isinstance(o, Entity)), DUMMY_ENTITY],
            feature_services=[o for o in found if isinstance(o, FeatureService)],
            permissions=[],
        )

    def _load(self) -> list[ModuleType]:
        """Imports the modules anew, from the folder, and leaves no trace of them in this process."""
        names = [path.stem for path in self._modules()]
        others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, str(self.folder))
        importlib.invalidate_caches()
        try:
            return [importlib.import_module(name) for name in names]
        finally:
            sys.path.remove(str(self.folder))
            sys.dont_write_bytecode = writes_bytecode
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(others)

    def _modules(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.py") if path.name != "__init__.py")

    @contextlib.contextmanager
    def _globals(self) -> Iterator[None]:
        with _GLOBALS:
            before = {name: os.environ.get(name) for name in self._environment}
            os.environ.update(self._environment)
            # ibis still calls DuckDB's old name of a method, once per query
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="ibis")
            # the pipeline's own join takes no on-demand view: whoever takes one pays what it costs
            warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
            try:
                yield
            finally:
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value


@functools.cache
def _disconnect_at_exit() -> None:
    """Closes the DuckDB connection that ibis keeps for Feast: left open, DuckDB prints a page about leaks at exit."""

    def disconnect() -> None:
        import ibis

        backend = ibis.options.default_backend
        if backend is not None:
            backend.disconnect()
            ibis.options.default_backend = None

    atexit.register(disconnect)


@contextlib.contextmanager
def feast_errors(action: str, remedy: str) -> Iterator[None]:
    """Says in our words what Feast could not do.

    Args:
        action: What was tried, as in "Feast could not ...".
        remedy: What to do next, one sentence.

    Raises:
        ToolUnavailable: A store did not answer, or another process was faster.
        ToolRejected: Feast refused. Only Feast's own messages are repeated: another's may hold a row's value.
    """
    try:
        yield
    except E2IError:
        raise
    except Exception as err:
        from feast.errors import FeastError

        kind = ToolUnavailable if _is_unreachable(err) else ToolRejected
        detail = f": {err}" if isinstance(err, FeastError) else ""
        raise kind(f"Feast could not {action}: {type(err).__name__}{detail}. {remedy}") from err


_UNREACHABLE = {
    ("redis", "ConnectionError"),
    ("redis", "TimeoutError"),
    ("psycopg", "OperationalError"),
    ("psycopg_pool", "PoolTimeout"),
    ("botocore", "EndpointConnectionError"),
    ("botocore", "HTTPClientError"),
}
"""Package and name of what clients raise where a server does not answer."""


def _is_unreachable(err: Exception) -> bool:
    import sqlite3

    from feast.errors import ConcurrentVersionConflict
    from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

    if isinstance(err, DBAPIError) and err.connection_invalidated:
        return True
    # another process made the same table or version just now: whoever tries again finds it
    if isinstance(err, (IntegrityError, ConcurrentVersionConflict)):
        return True
    unreachable = (OperationalError, sqlite3.OperationalError, ConnectionError, TimeoutError, PermissionError)
    if isinstance(err, unreachable):
        return True
    # of clients that are installed with a store of theirs only
    kinds = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(err).__mro__}
    return bool(kinds & _UNREACHABLE)
