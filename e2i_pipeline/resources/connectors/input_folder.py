"""Where the user's files lie: a folder of this machine, or one behind a URL that fsspec knows (`s3://`, `gs://`, ...).

Names, sizes and times of change, and an open file for its first line; the engine reads what is in the files. What the
files mean is none of this module's business.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from e2i_pipeline.errors import ConfigurationError, SourceError, ToolUnavailable

if TYPE_CHECKING:
    import duckdb

_STAMPS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "modified", "created")
"""What file systems call the marks by which a changed file shows."""

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}


class InputFile(NamedTuple):
    """A file of the source.

    Attributes:
        name: Path below the folder, with `/`.
        address: What the engine opens, and what a message names.
        size: Bytes.
        stamp: What changes when the file does.
    """

    name: str
    address: str
    size: int
    stamp: str

    @property
    def base(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]


class Entry(NamedTuple):
    """What lies in the folder: a file's or a folder's name."""

    name: str
    is_folder: bool


class InputFolder(Protocol):
    """A folder of files, wherever it is. `str` of it names it in messages."""

    def entries(self) -> list[Entry]:
        """What lies in it, hidden entries and marker files (`_SUCCESS`) left out, by name.

        Raises:
            SourceError: It is not there, or may not be read.
            ToolUnavailable: Whoever keeps it did not answer.
        """
        ...

    def files(self, folder: str = "") -> list[InputFile]:
        """The files in it, or in a folder of it, likewise."""
        ...

    def open(self, file: InputFile) -> IO[bytes]:
        """A file, to be read."""
        ...

    def install(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Lets an engine's connection read the addresses of the files."""
        ...


def input_folder(location: str | Path) -> InputFolder:
    """The folder at a location.

    Args:
        location: A path, or a URL.

    Raises:
        ConfigurationError: No file system is known for the URL, or it carries a password.
    """
    if not is_url(location):
        return LocalFolder(location)
    parts = urlsplit(str(location))
    if parts.scheme == "file":
        return LocalFolder(unquote(parts.path))
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"source.location is a {parts.scheme} URL with credentials in it, which would stand in records and "
            "messages. Take them out; they belong in the environment, under the names that the store's own tools know."
        )
    return RemoteFolder(str(location).rstrip("/"), parts.scheme)


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL, and not a path."""
    return "://" in str(location)


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).expanduser().absolute()

    def __str__(self) -> str:
        return str(self._root)

    def entries(self) -> list[Entry]:
        """As the protocol says."""
        return [Entry(path.name, path.is_dir()) for path in self._visible(self._root)]

    def files(self, folder: str = "") -> list[InputFile]:
        """As the protocol says."""
        found: list[InputFile] = []
        for path in self._visible(self._root / folder):
            if path.is_file():
                stat = path.stat()
                name = f"{folder}/{path.name}" if folder else path.name
                found.append(InputFile(name, str(path), stat.st_size, str(stat.st_mtime_ns)))
        return found

    def open(self, file: InputFile) -> IO[bytes]:
        """As the protocol says."""
        return Path(file.address).open("rb")

    def install(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Nothing: the engine reads files itself."""

    def _visible(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if _is_visible(path.name))
        except FileNotFoundError:
            problem = "does not exist"
        except NotADirectoryError:
            problem = "is a file, not a folder"
        except PermissionError:
            problem = "may not be read by this user"
        raise SourceError(f"The source's folder {folder} {problem}. Set source.location or E2I_DATA.")


class RemoteFolder:
    """A folder behind a URL, by fsspec; credentials and endpoints come from the environment.

    Args:
        url: The URL, without a slash at its end.
        scheme: Its scheme.

    Raises:
        ConfigurationError: fsspec knows no such scheme, or lacks the package for it.
    """

    def __init__(self, url: str, scheme: str) -> None:
        import fsspec

        options = {"config_kwargs": {"s3": {"addressing_style": "path"}}} if scheme in ("s3", "s3a") else {}
        try:
            # A listing that was kept would hide that a file was replaced.
            self._fs: Any = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
        except (ImportError, ValueError) as err:
            package = _PACKAGES.get(scheme)
            remedy = f"Install {package} (the extra aws has s3fs)." if package else "Use a path, or s3://, gs://, ..."
            raise ConfigurationError(f"source.location: no file system here reads {scheme}://. {remedy}") from err
        self._url, self._scheme = url, scheme

    def __str__(self) -> str:
        return self._url

    def entries(self) -> list[Entry]:
        """As the protocol says."""
        listed = self._listed("")
        return [Entry(name, info["type"] == "directory") for name, info in listed]

    def files(self, folder: str = "") -> list[InputFile]:
        """As the protocol says."""
        below = f"{folder}/" if folder else ""
        return [
            InputFile(
                f"{below}{name}",
                f"{self._url}/{below}{name}",
                int(info.get("size") or 0),
                " ".join(str(info[mark]) for mark in _STAMPS if info.get(mark) is not None),
            )
            for name, info in self._listed(folder)
            if info["type"] == "file"
        ]

    def open(self, file: InputFile) -> IO[bytes]:
        """As the protocol says."""
        with self._answered():
            return self._fs.open(file.address, "rb")

    def install(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Has the engine read through fsspec, and keep nothing that it read: a file may be replaced between reads."""
        if not connection.filesystem_is_registered(self._scheme):
            connection.register_filesystem(self._fs)
        connection.execute("SET enable_external_file_cache = false")

    def _listed(self, folder: str) -> list[tuple[str, Mapping[str, Any]]]:
        path = f"{self._url}/{folder}" if folder else self._url
        with self._answered():
            infos = self._fs.ls(path, detail=True)
        named = [(str(info["name"]).rstrip("/").rsplit("/", 1)[-1], info) for info in infos]
        if len(infos) == 1 and infos[0]["type"] == "file" and path.endswith(f"/{named[0][0]}"):
            raise SourceError(f"The source's folder {path} is a file, not a folder. Set source.location or E2I_DATA.")
        return sorted((name, info) for name, info in named if _is_visible(name))

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Says what a store's failure means; its own words may quote a key or an address with one."""
        try:
            yield
        except FileNotFoundError:
            problem = "does not exist"
        except PermissionError:
            problem = "may not be read with the credentials of this environment"
        except (SourceError, KeyboardInterrupt):
            raise
        except Exception as err:
            if "credential" in type(err).__name__.lower():
                problem = "cannot be read: this environment has no credentials for it"
            else:
                raise ToolUnavailable(
                    f"The store of {self._url} did not answer as it should ({type(err).__name__}). See that its "
                    "address and the network are right, and run again."
                ) from None
        else:
            return
        raise SourceError(f"The source's folder {self._url} {problem}. Set source.location or E2I_DATA.")


def _is_visible(name: str) -> bool:
    return bool(name) and not name.startswith((".", "_"))
