# ruff: noqa: TID253 - nothing of ours imports this module at its top: Great Expectations does, by its name
"""A place of Great Expectations' stores in S3: suites, results and pages as objects of a bucket.

Great Expectations 1.24 has no S3 store any more, but takes one by module and class name, as `data_docs.py` gives it.
Which stores there are, and what becomes of a failure, is decided there.

Processes share a bucket without a lock, so nothing here deletes: what is old is the bucket's life-cycle rule to remove.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from great_expectations.data_context.store.tuple_store_backend import TupleStoreBackend
from great_expectations.exceptions.exceptions import InvalidKeyError

from e2i_pipeline.resources.resilience import CircuitBreaker

S3Client = Any  # boto3 makes its clients' classes when it runs
T = TypeVar("T")

CONNECT_SECONDS = 3
READ_SECONDS = 10
ATTEMPTS = 2
"""Bounds of one request: data docs are auxiliary, and an audit must not wait for a store that hangs."""

_MISSING = ("NoSuchKey", "404")


class Bucket(NamedTuple):
    """A bucket and the prefix under which everything lies, without slashes at its ends; empty for none."""

    name: str
    prefix: str

    def key(self, path: str) -> str:
        """The object key of a path below the prefix."""
        return f"{self.prefix}/{path}" if self.prefix else path


def parse_address(address: str) -> Bucket:
    """Reads `s3://bucket/prefix`."""
    name, _, prefix = address.removeprefix("s3://").partition("/")
    return Bucket(name, prefix.strip("/"))


@cache
def client() -> S3Client:
    """This process's S3 client; the endpoint and the credentials are boto3's own variables (`AWS_ENDPOINT_URL`, ...).

    Raises:
        ModuleNotFoundError: boto3 is not installed.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            # a store of one's own has one host name, not one per bucket; AWS answers to both forms
            s3={"addressing_style": "path"},
        ),
    )


@cache
def circuit() -> CircuitBreaker:
    """This process's circuit breaker around the store."""
    return CircuitBreaker("the S3 store of the data docs")


def request(work: Callable[[S3Client], T]) -> T:
    """Makes one request through the process's circuit: a store that keeps failing is left alone for a while.

    Raises:
        ToolUnavailable: The circuit is open.
        Exception: What boto3 raised.
    """
    return circuit().call(lambda: work(client()))


def require_bucket(bucket: Bucket) -> None:
    """Asks for the bucket, so that what is wrong with all requests shows in the first one.

    Raises:
        Exception: What boto3 raised.
    """
    request(lambda s3: s3.head_bucket(Bucket=bucket.name))


def object_sizes(bucket: Bucket, folder: str) -> dict[str, int]:
    """Bytes of each object below a folder of the bucket's prefix, by path below the prefix."""
    start = bucket.key(folder + "/" if folder else "")
    cut = len(bucket.key(""))

    def listed(s3: S3Client) -> dict[str, int]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=start)
        return {o["Key"][cut:]: o["Size"] for page in pages for o in page.get("Contents", ())}

    return request(listed)


class S3StoreBackend(TupleStoreBackend):
    """Keys as objects of a bucket.

    Args:
        bucket: Name of the bucket.
        prefix: Where in the bucket; empty for its root.
        given: What Great Expectations itself decides: filepath prefix, suffix and template.
    """

    def __init__(self, bucket: str, prefix: str = "", **given: Any) -> None:
        super().__init__(**{**given, "platform_specific_separator": False, "suppress_store_backend_id": True})
        self._bucket = Bucket(bucket, prefix)
        self._assets: dict[str, int] | None = None
        self._config = {
            "bucket": bucket,
            "prefix": prefix,
            **given,
            "module_name": type(self).__module__,
            "class_name": type(self).__name__,
        }

    def list_keys(self, prefix: tuple[str, ...] = ()) -> list[Any]:
        """The keys of all objects with this store's prefix and suffix."""
        folder = "/".join(filter(None, (self.filepath_prefix, *prefix)))
        paths = [
            path
            for path in object_sizes(self._bucket, folder)
            if not self._is_missing_prefix_or_suffix(self.filepath_prefix or "", self.filepath_suffix or "", path)
        ]
        return [key for path in paths if (key := self._convert_filepath_to_key(path))]

    def remove_key(self, key: Any) -> bool:
        """Leaves the object: another process may have made it since the keys were listed."""
        return False

    def get_url_for_key(self, key: Any, protocol: Any = None) -> str:
        """The address of a key's object, at the endpoint in use."""
        where = quote(f"{self._bucket.name}/{self._object(key)}")
        return f"{client().meta.endpoint_url.rstrip('/')}/{where}"

    def _get(self, key: Any) -> str:
        def got(s3: S3Client) -> str | None:
            return _unless_missing(s3, lambda: s3.get_object(**self._named(key))["Body"].read().decode("utf-8"))

        content = request(got)
        if content is None:
            raise InvalidKeyError(f"{self._object(key)} is not in the bucket {self._bucket.name}")
        return content

    def _get_all(self) -> list[Any]:
        return [self._get(key) for key in self.list_keys()]

    def _set(self, key: Any, value: str | bytes, content_type: str = "", **_: Any) -> tuple[str, ...]:
        body = value.encode("utf-8") if isinstance(value, str) else value
        if not self._holds_asset(key, len(body)):
            kind = {"ContentType": content_type} if content_type else {}
            request(lambda s3: s3.put_object(**self._named(key), Body=body, **kind))
        return key

    def _holds_asset(self, key: tuple[str, ...], size: int) -> bool:
        """Whether this is a style or a picture of Great Expectations' own that is there: 3 MB at every audit else."""
        if key[:1] != ("static",):
            return False
        if self._assets is None:
            self._assets = object_sizes(self._bucket, "static")
        return self._assets.get("/".join(key)) == size

    def _move(self, source_key: Any, dest_key: Any, **_: Any) -> Any:
        self._set(dest_key, self._get(source_key))
        return dest_key

    def _has_key(self, key: Any) -> bool:
        return request(lambda s3: _unless_missing(s3, lambda: s3.head_object(**self._named(key)))) is not None

    def _object(self, key: Any) -> str:
        return self._bucket.key(self._convert_key_to_filepath(key))

    def _named(self, key: Any) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._object(key)}


def _unless_missing(s3: S3Client, work: Callable[[], T]) -> T | None:
    """The answer, or None where there is no such object: which is an answer, and no failure of the store."""
    try:
        return work()
    except s3.exceptions.ClientError as err:
        if err.response.get("Error", {}).get("Code") in _MISSING:
            return None
        raise
