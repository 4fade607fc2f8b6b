"""The data docs: an audit's redacted result becomes a page, in a local folder or in an S3 bucket.

They are auxiliary: an audit stands without them, and says why it has none. What may be in a result is decided in
`audit_results.py`, how an object is kept in a bucket in `data_docs_s3.py`.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

_LOG = logging.getLogger(__name__)

LOCAL_HISTORY = 200
"""Audits that the index lists, newest first; older pages stay where they are."""

S3_HISTORY = 50
"""The same in a bucket, where a process that writes the index reads each of them over the network."""

_SITE = "data_docs"
_VIEWS = "e2i_pipeline.resources.data_docs_views"
_BUCKETS = "e2i_pipeline.resources.data_docs_s3"
_INDEX_ATTEMPTS = 5


class Docs(NamedTuple):
    """Where the data docs are.

    Attributes:
        site: A folder or `s3://bucket/prefix`; empty for no data docs.
        store: Where the results and suites behind the pages are kept, likewise; empty for beside the pages.
    """

    site: str = ""
    store: str = ""


class Page(NamedTuple):
    """The page of one audit: its path or address, or why there is none."""

    place: str = ""
    problem: str = ""


def publish(context: Any, key: Any, result: Any, asset: str, docs: Docs) -> Page:
    """Makes the page of a redacted result, and the index that lists it.

    Args:
        context: GX's context of the audit.
        key: GX's key of the result.
        result: GX's result, redacted.
        asset: What was audited, for messages.
        docs: Where to.

    Returns:
        The page; without one the problem is said, and logged once as a warning.
    """
    if not docs.site:
        return Page()
    problem = ""
    try:
        place = _render(context, key, result, docs)
    except Exception as err:
        place, problem = "", explain(err, docs)
    if not place:
        problem = problem or "Great Expectations did not render the page. Look for its messages in the run's log."
        problem = f"No data docs for {asset} in {docs.site}: {problem}"
        _LOG.warning("%s The audit itself stands.", problem)
    return Page(place, problem)


def explain(err: Exception, docs: Docs) -> str:
    """What went wrong and what to do, without the text of a tool's exception: it may quote what it was given."""
    if isinstance(err, ModuleNotFoundError) and (err.name or "").partition(".")[0] in ("boto3", "botocore"):
        return "boto3 is not installed. Install the extra aws: pip install 'e2i-pipeline[aws]'."
    if not _is_s3(docs.site) and not _is_s3(docs.store):
        return f"{type(err).__name__}. See that the folder can be made and written, or set the site to another."
    code = str(getattr(err, "response", {}).get("Error", {}).get("Code", ""))
    if code in ("404", "NoSuchBucket"):
        return (
            "the bucket does not exist. Create it, or correct GE_DATA_DOCS_S3_BUCKET (or "
            "great_expectations.data_docs_site and .checkpoint_store)."
        )
    if code in ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return "access was denied. Give credentials that may list the bucket, and read and write its objects."
    if type(err).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    return (
        f"the store did not answer ({code or type(err).__name__}). See that it is up, and that AWS_ENDPOINT_URL names "
        "it where it is not AWS itself."
    )


def _render(context: Any, key: Any, result: Any, docs: Docs) -> str:
    """Adds a result to the data docs and gives the page's place; empty where GX gave up on it."""
    store = docs.store or docs.site
    for name, kind, place in (
        ("published_results", "ValidationResultsStore", "results"),
        ("published_suites", "ExpectationsStore", "suites"),
    ):
        context.add_store(name, {"class_name": kind, "store_backend": _backend(store, place)})
    suite_key = key.expectation_suite_identifier

    def keep() -> None:
        context.stores["published_suites"].set(suite_key, context.suites.get(suite_key.name))
        context.stores["published_results"].set(key, result)
        context.add_data_docs_site(_SITE, _site(docs.site))

    def build(*resources: Any, with_index: bool) -> None:
        context.build_data_docs(site_names=[_SITE], resource_identifiers=list(resources), build_index=with_index)

    if _is_s3(docs.site):
        pages = partial(build, key, suite_key, with_index=False)
        _in_bucket(docs, keep, pages, partial(build, suite_key, with_index=True))
    else:
        _in_folder(Path(docs.site), keep, partial(build, key, suite_key, with_index=True))
    url = str(context.get_docs_sites_urls(resource_identifier=key, site_names=[_SITE])[0]["site_url"] or "")
    # a path is no address: a split's page is in a folder `training_dataset[train]-...`, which an address escapes
    return unquote(url.removeprefix("file://")) if url.startswith("file://") else url


def _in_folder(folder: Path, keep: Callable[[], None], build: Callable[[], None]) -> None:
    """Processes take turns: GX removes a page whose result it does not find."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        keep()
        build()


def _in_bucket(
    docs: Docs, keep: Callable[[], None], build_pages: Callable[[], None], build_index: Callable[[], None]
) -> None:
    """Without a lock: who has written the index looks whether a page came meanwhile, and then writes it again.

    So the last of several writers lists what all of them have brought.
    """
    from e2i_pipeline.resources.data_docs_s3 import object_sizes, parse_address, require_bucket

    site = parse_address(docs.site)
    for address in {docs.site, docs.store or docs.site}:
        if _is_s3(address):
            require_bucket(parse_address(address))
    keep()
    build_pages()
    for _ in range(_INDEX_ATTEMPTS):
        listed = set(object_sizes(site, "validations"))
        build_index()
        if set(object_sizes(site, "validations")) == listed:
            return


def _site(site: str) -> dict[str, Any]:
    section = {"class_name": "DefaultSiteSectionBuilder", "view": {"module_name": _VIEWS, "class_name": "PageView"}}
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": _backend(site),
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "view": {"module_name": _VIEWS, "class_name": "IndexView"},
            "validation_results_limit": S3_HISTORY if _is_s3(site) else LOCAL_HISTORY,
        },
        "site_section_builders": {
            "expectations": {**section, "source_store_name": "published_suites"},
            "validations": {**section, "source_store_name": "published_results"},
            "profiling": "None",
        },
    }


def _backend(place: str, below: str = "") -> dict[str, Any]:
    if _is_s3(place):
        from e2i_pipeline.resources.data_docs_s3 import parse_address

        bucket = parse_address(place)
        prefix = bucket.key(below).strip("/")
        return {"module_name": _BUCKETS, "class_name": "S3StoreBackend", "bucket": bucket.name, "prefix": prefix}
    return {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str((Path(place) / below).absolute()),
        "suppress_store_backend_id": True,
    }


def _is_s3(place: str) -> bool:
    return place.startswith("s3://")
