# ruff: noqa: TID253 - imported by Feast alone, through the store
"""Where the Parquet files of Feast's sources are, and how DuckDB reaches them: on this machine, or in S3.

DuckDB's own extension for S3 would have to be downloaded; `s3fs` (the extra `aws`) stands in for it.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from e2i_pipeline.errors import ConfigurationError, ToolRejected
from e2i_pipeline.resources.sql import literal

_S3 = "s3://"
_GLOB = "*?["


class Files:
    """The files of one request.

    Args:
        repo_path: Folder of the Feast repository; relative paths begin there.
    """

    def __init__(self, repo_path: str | Path | None) -> None:
        self._repo_path = repo_path
        self._access: dict[str, Any] | None = None

    def relation(self, source: DataSource | None, whose: str) -> tuple[str, bool]:
        """The rows of a source as a table in SQL, and whether they are in a single file.

        Args:
            source: A file, a folder of files, or a pattern of names.
            whose: What it belongs to, for the message.

        Raises:
            ToolRejected: It is no Parquet source, or lies in another S3 than one asked for before.
        """
        path = self._location(source, whose)
        is_folder = not path.endswith(".parquet") if path.startswith(_S3) else Path(path).is_dir()
        if is_folder and not any(sign in path for sign in _GLOB):
            path = f"{path.rstrip('/')}/**/*.parquet"
        is_one = not any(sign in path for sign in _GLOB)
        return f"read_parquet({literal(path)}{'' if is_one else ', union_by_name = true'})", is_one

    def target(self, source: DataSource) -> "Target":
        """Where a result is to be written.

        Raises:
            ToolRejected: The place is none for a Parquet file.
        """
        path = self._location(source, "saved dataset")
        return Target(path, self._file_system() if path.startswith(_S3) else None)

    def reach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Lets a connection read and write what the sources asked for so far name.

        Raises:
            ConfigurationError: Something lies in S3, and `s3fs` is not installed.
        """
        if self._access is not None:
            connection.register_filesystem(self._file_system())

    def _location(self, source: DataSource | None, whose: str) -> str:
        kind = type(source).__name__
        if isinstance(source, FileSource):
            if source.file_format is None or isinstance(source.file_format, ParquetFormat):
                path = FileSource.get_uri_for_file_path(self._repo_path, source.path)
                if path.startswith(_S3):
                    self._note_access(source, whose)
                if path.startswith(_S3) or "://" not in path:
                    return path
                kind = f"{path.split('://', maxsplit=1)[0]}:// location"
            else:
                kind = type(source.file_format).__name__
        raise ToolRejected(
            f"The {whose} has a {kind}. This offline store reads and writes Parquet files on this machine and in S3 "
            "(FileSource with ParquetFormat); for others choose Feast's own store in the Feast configuration."
        )

    def _note_access(self, source: FileSource, whose: str) -> None:
        secrets = source.resolve_credentials() or {}
        named = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
        access: dict[str, Any] = {ours: secrets[theirs] for ours, theirs in named.items() if secrets.get(theirs)}
        if source.s3_endpoint_override:
            access["endpoint_url"] = source.s3_endpoint_override
        if self._access not in (None, access):
            raise ToolRejected(
                f"The {whose} lies in another S3 (endpoint or credentials) than what was asked for before it. Ask for "
                "them apart."
            )
        self._access = access

    def _file_system(self) -> Any:
        try:
            import s3fs
        except ImportError as err:
            raise ConfigurationError(
                "Feature tables lie in S3, and s3fs is not installed. Install the package with its extra `aws`."
            ) from err
        return s3fs.S3FileSystem(**(self._access or {}), use_listings_cache=False, skip_instance_cache=True)


class Target:
    """A Parquet file to be.

    Args:
        location: The file, or a folder, which then holds one.
        file_system: Where it is; None for this machine.
    """

    def __init__(self, location: str, file_system: Any = None) -> None:
        self.location = location
        self._file_system = file_system

    def exists(self) -> bool:
        """Whether something is there."""
        return self._file_system.exists(self.location) if self._file_system else Path(self.location).exists()

    @contextmanager
    def replaced(self) -> Iterator[str]:
        """Gives the path to write to; the file takes its name when all is written.

        Raises:
            ToolRejected: The folder holds other Parquet files, which would be read as part of the result.
        """
        path = self.location if self.location.endswith(".parquet") else f"{self.location.rstrip('/')}/data.parquet"
        if self._file_system:
            yield path  # an object appears when it is complete
            return
        final = Path(path)
        others = [] if path == self.location else [p for p in final.parent.rglob("*.parquet") if p != final]
        if others:
            raise ToolRejected(
                f"The folder {self.location} holds {len(others)} other Parquet files. Name an empty folder, or a file."
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{uuid.uuid4().hex}.part")
        try:
            yield str(part)
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
