"""How MLflow is reached: set-up before its import, the store's first use, locks, and its failures in our words.

Everything goes over `MlflowClient` with its own URI; MLflow's global state (active run, tracking URI) is never touched,
so a user's code in the same process keeps its own. What is said to MLflow stands in `mlflow_runs`, `mlflow_models` and
`mlflow_registry`.
"""

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import dagster as dg
from filelock import FileLock

from e2i_pipeline.errors import E2IError, ToolRejected, ToolUnavailable
from e2i_pipeline.storage.scratch import scratch_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT = 10
"""Seconds that a database server may take to accept a connection."""

LOCK_TIMEOUT = 300
"""Seconds to wait for another process of this machine that holds a lock; what is locked takes seconds at most."""

UI_COMMAND = "LITELLM_LOCAL_MODEL_COST_MAP=True mlflow ui --workers 1"
"""Starts MLflow's UI. Its server imports litellm, where Opik brought it, which asks the network for a price list; where
there is no network, the server never comes up without the variable (seen with MLflow 3.17 and Opik 2.2)."""

_SETUP = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # With MLflow's own defaults a refused server costs five minutes per call and a hanging one sixteen.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Its INFO lines tell of tables made and migrations run; warnings and errors stay.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It prints a link with the password in it when a run ends.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Otherwise a uv.lock that happens to lie in the current folder is copied into each model.
    "MLFLOW_UV_AUTO_DETECT": "false",
}
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SECRET_PARAMETER = re.compile(r"((?:password|passwd|token|secret)=)([^&;\s]+)", re.IGNORECASE)
_UNREACHABLE_LIBRARIES = {"sqlalchemy", "requests", "urllib3", "botocore", "boto3", "psycopg", "psycopg2"}

_opened: set[str] = set()  # stores that this process has met ready


class MlflowConnection(dg.ConfigurableResource):
    """One MLflow server or database.

    Attributes:
        tracking_uri: `sqlite:///...`, `postgresql://...` or `http(s)://...`; tracking and registry alike.
        artifact_root: Folder or URL under which experiments keep their files; empty leaves it to the server.
        experiment_prefix: First part of each experiment's name.
        default_tags: Tags that each run and version carries, e.g. `platform`, `environment`.
        model_name_pattern: Registered name, with `{brand}` and `{model_type}`.
        lock_dir: Folder of the locks that processes of one machine share.
    """

    tracking_uri: str
    artifact_root: str
    lock_dir: str
    experiment_prefix: str = "e2i"
    default_tags: dict[str, str]
    model_name_pattern: str = "e2i-{brand}-{model_type}"

    @property
    def store_uri(self) -> str:
        """The tracking URI as it is handed to MLflow: PostgreSQL with the driver that is installed."""
        # Without a driver's name SQLAlchemy 2.1 takes psycopg 3; dagster-postgres brings psycopg 2.
        return re.sub(r"^postgresql:", "postgresql+psycopg2:", self.tracking_uri)

    def redacted(self, uri: str = "") -> str:
        """The tracking URI, or another, with its password replaced by `***`."""
        return _hide(uri or self.tracking_uri, _secrets(uri or self.tracking_uri))

    def ui_url(self, run_id: str, experiment_id: str) -> str:
        """Where a person sees a run: a link, or for a database the command that starts MLflow's UI on it.

        No password stands in it. MLflow is not asked, so it costs nothing.
        """
        page = f"/#/experiments/{experiment_id}/runs/{run_id}"
        if not self.tracking_uri.startswith(_DATABASES):
            parts = urlsplit(self.tracking_uri)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{page}"
        store = '"$MLFLOW_TRACKING_URI"' if _secrets(self.tracking_uri) else f"'{self.tracking_uri}'"
        return f"{UI_COMMAND} --backend-store-uri {store}, then http://127.0.0.1:5000{page}"

    @contextmanager
    def _client(self, action: str) -> Iterator["MlflowClient"]:
        """A client whose failures are ours.

        Args:
            action: What is being tried, to follow "could not", e.g. `open the run of training 4f2a`.

        Raises:
            ToolUnavailable: MLflow, its database or its file store did not answer.
            ToolRejected: MLflow answered and refused.
        """
        _prepare(self.tracking_uri)
        started = time.monotonic()
        try:
            yield self._connected()
        except Exception as err:
            kind = _kind_of(err)
            if kind is None:
                raise
            # with a password in the URI, the cause's own text would show it in each traceback
            cause = None if _secrets(self.tracking_uri) else err
            raise kind(self._message(kind, action, err, time.monotonic() - started)) from cause

    def _connected(self) -> "MlflowClient":
        from mlflow import MlflowClient

        uri = self.store_uri
        if uri.startswith(_DATABASES) and uri not in _opened:
            if not uri.startswith("sqlite"):
                _probe_database(uri)
            _silence_deprecation()
            with self._locked("store"):  # creates MLflow's tables where they are missing: one process at a time
                if file := _missing_file(uri):
                    _create_store(file)
                MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
            _opened.add(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keeps other processes of this machine out; not reentrant."""
        folder = Path(self.lock_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"mlflow-{name}.lock", timeout=LOCK_TIMEOUT):
            yield

    def _message(self, kind: type[E2IError], action: str, err: Exception, seconds: float) -> str:
        secrets = _secrets(self.tracking_uri)
        if kind is ToolRejected:
            # MLflow explains a refusal in paragraphs; the first says what is wrong.
            found = _hide(str(err).strip().split("\n\n")[0], secrets)
            return f"MLflow at {self.redacted()} refused to {action}: {found}"
        root = _root(err)
        return (
            f"MLflow at {self.redacted()} could not {action}: it gave up after {seconds:.1f} s "
            f"({type(root).__name__}: {_hide(str(root), secrets)}). The step needs MLflow, so it fails and can be run "
            f"again: it goes on where it was. Check MLFLOW_TRACKING_URI and that the server answers."
        )


def _root(err: BaseException) -> BaseException:
    """The failure at the bottom: MLflow wraps a refused connection four times, each time with the whole address."""
    while (below := err.__cause__ or err.__context__) is not None:
        err = below
    return err


def _prepare(uri: str) -> None:
    """Sets MLflow up and imports what it needs, so that an import is not taken for waiting."""
    for name, value in _SETUP.items():
        os.environ.setdefault(name, value)
    import mlflow

    # whoever imported it first may have done so without our set-up
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    if not uri.startswith(_DATABASES):
        # its first request imports plug-ins of the HTTP client: Feast brings one, and with it all of Feast (5 s)
        import mlflow.tracking.request_header.registry  # noqa: F401


def _probe_database(uri: str) -> None:
    """Connects once: MLflow itself tries a database that refuses ten times, for over 100 s."""
    import sqlalchemy

    options = {"connect_timeout": CONNECT_TIMEOUT} if uri.startswith(("postgresql", "mysql")) else {}
    sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, connect_args=options).connect().close()


def _missing_file(uri: str) -> Path | None:
    """The file of an SQLite store that is not there yet."""
    import sqlalchemy

    name = sqlalchemy.make_url(uri).database if uri.startswith("sqlite") else None
    file = Path(name) if name and name != ":memory:" else None
    return file if file and not file.exists() else None


def _create_store(file: Path) -> None:
    """Makes an SQLite store beside its place and moves it there.

    MLflow makes its tables by dozens of migrations, none of them in a transaction: a process killed among them leaves a
    file that no later one can open (`table _alembic_tmp_... already exists`, seen with MLflow 3.17).
    """
    from mlflow import MlflowClient

    with scratch_file(file) as scratch:
        uri = f"sqlite:///{scratch}"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
        scratch.replace(file)


def is_refusal(err: Exception) -> bool:
    """Whether a failure met while talking to MLflow says that it answered and refused."""
    return _kind_of(err) is ToolRejected


def _kind_of(err: Exception) -> type[E2IError] | None:
    """The class of ours for a failure met while talking to MLflow; None for what should pass through."""
    from mlflow.exceptions import MlflowException

    if isinstance(err, E2IError):
        return None
    if isinstance(err, MlflowException):
        if "out-of-date database schema" in str(err):
            return ToolRejected
        status = err.get_http_status_code()
        return ToolRejected if 400 <= status < 500 and status not in (408, 429) else ToolUnavailable
    # the database's driver, an artifact or the right to it is missing
    if isinstance(err, (ImportError, FileNotFoundError, PermissionError)):
        return ToolRejected
    if isinstance(err, OSError) or type(err).__module__.partition(".")[0] in _UNREACHABLE_LIBRARIES:
        return ToolUnavailable
    return None


def _silence_deprecation() -> None:
    """MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 deprecates, and says so once per process.

    Drop once MLflow is past it.
    """
    from sqlalchemy.exc import SADeprecationWarning

    warnings.filterwarnings("ignore", category=SADeprecationWarning, module="mlflow")


def _secrets(uri: str) -> set[str]:
    password = urlsplit(uri).password or ""
    found = {password, unquote(password), *(value for _, value in _SECRET_PARAMETER.findall(uri))}
    return found - {""}


def _hide(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
