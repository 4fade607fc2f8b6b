"""BentoML: packages a registered model as a Bento, proves that it answers, and says which one is deployed.

Essential: a model that cannot be packaged or does not answer is not promoted. What is inside a Bento and how it
answers belongs to `serving`. BentoML itself only ever runs in processes that are started here, so that one pipeline
process can use several homes and never holds a server of its own.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ValidationError

from e2i_pipeline.contracts.base import Contract, content_key
from e2i_pipeline.contracts.references import BentoRef, DeploymentRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.algorithms import load_model
from e2i_pipeline.domain.attribution import reference_point
from e2i_pipeline.domain.learners import LINEAR
from e2i_pipeline.errors import ToolRejected, ToolUnavailable
from e2i_pipeline.serving import build, client
from e2i_pipeline.serving.carried import installed_algorithms
from e2i_pipeline.serving.local_server import clean_environment, read_deployment, serving, tail
from e2i_pipeline.serving.packaging import code_hash, lay_out, requirements
from e2i_pipeline.serving.schema import Answer, row_model, rows_per_request
from e2i_pipeline.serving.scoring import frame_of, rows_of
from e2i_pipeline.serving.settings import ServingSettings

if TYPE_CHECKING:
    import pandas as pd

    from e2i_pipeline.domain.algorithms import ScoringModel

ENDPOINT = "http://127.0.0.1:3000"  # where the local deployment answers once started: BentoML's own default port

TOLERANCE = 1e-6
"""Largest difference between a score here and one of the Bento, per 1 of the largest above 1. The same files give the
same bits on one machine, and JSON keeps a float64; another machine's arithmetic may differ in the last digits."""

BUILD_TIMEOUT_S = 300  # a build takes a few seconds on a quiet machine


class GoldenRequest(Contract):
    """Rows and what the model itself says about them.

    Attributes:
        rows: Feature name to value.
        scores: One per row: a probability, 0..1, or the expected outcome of a regression.
        left_out: Rows offered that the service would refuse, for a value outside its feature's range.
    """

    rows: tuple[dict[str, bool | float | str | None], ...]
    scores: tuple[float, ...]
    left_out: int = 0


class BentoResource(dg.ConfigurableResource):
    """Bentos in a local store.

    Attributes:
        home: BentoML's home (`BENTOML_HOME`): its model store and its Bento store.
        service: Name of the service inside each Bento.
        timeout: Seconds after which the service gives up on a request.
        max_batch_size: Rows that the service scores together.
        max_latency_ms: Milliseconds after which the service sheds a waiting request; see `ServingSettings`.
        state_dir: Folder for golden requests, logs and deployments.
    """

    home: str
    service: str
    timeout: int
    max_batch_size: int
    max_latency_ms: int
    state_dir: str

    def package_model(
        self,
        files: Mapping[str, bytes],
        version: ModelVersion,
        golden_rows: "pd.DataFrame",
        reference_rows: "pd.DataFrame | None" = None,
    ) -> BentoRef:
        """Packages a registered model; what was packaged before from the same parts is found and returned.

        Args:
            files: The model's files, as `dump_model` gives them.
            version: The registered version that they are.
            golden_rows: Some rows of raw features, of which the golden request is made. Rows that the service would
                refuse are left out and counted.
            reference_rows: Rows whose mean a linear model's explanations start from; the golden rows by default. Give
                the rows of the SHAP analysis, and a live explanation agrees with it.

        Returns:
            The Bento. Its key is made of the model version, the files, the service's code and settings.

        Raises:
            ToolRejected: BentoML could not build it, or no golden row can be sent.
        """
        from filelock import FileLock

        model = load_model(files)
        settings = self._settings(model, files, version, golden_rows if reference_rows is None else reference_rows)
        folder = self._folder(settings.bento_tag)
        folder.mkdir(parents=True, exist_ok=True)
        golden = folder / "golden_request.json"
        with FileLock(folder / "package.lock"):
            if not self.has(settings.bento_tag):
                self._build(files, settings, version, folder / "build.log")
            _write_atomically(golden, _golden_request(model, golden_rows).model_dump_json(indent=2))
        return self._reference(settings.bento_tag, version)

    def built_for(self, version: ModelVersion) -> BentoRef:
        """The Bento of a registered version that the store holds: the deployed one, else the one built last.

        Raises:
            ToolRejected: The store holds none of it that is whole.
        """
        name, prefix = _tag_part(version.name), f"{_tag_part(version.version)}-"
        folders = (Path(self.home) / "bentos" / name).glob(f"{prefix}*")
        whole = [tag for tag in (f"{name}:{folder.name}" for folder in folders) if self.has(tag)]
        if not whole:
            raise ToolRejected(
                f"{version.name} version {version.version} has no whole Bento in the store {self.home}, so it cannot "
                "be deployed. Restore the store (BENTOML_HOME), or promote a version that has one."
            )
        deployed = self.current_deployment(version.brand).bento_tag
        return self._reference(deployed if deployed in whole else max(whole, key=self.built_at), version)

    def _reference(self, tag: str, version: ModelVersion) -> BentoRef:
        return BentoRef(
            key=tag.rpartition("-")[2],
            brand=version.brand,
            tag=tag,
            model_tag=tag,
            location=str(self._in_store("bentos", tag)),
            golden_request=str(self._folder(tag) / "golden_request.json"),
            model_name=version.name,
            model_version=version.version,
        )

    def has(self, tag: str) -> bool:
        """Whether the store holds this Bento and the model it needs, both whole."""
        has_bento = (self._in_store("bentos", tag) / "bento.yaml").is_file()
        return has_bento and (self._in_store("models", tag) / "model.yaml").is_file()

    def built_at(self, tag: str) -> datetime:
        """When the store's Bento of this tag was built, or put there (UTC).

        Raises:
            ToolRejected: The store has no such Bento.
        """
        try:
            seconds = (self._in_store("bentos", tag) / "bento.yaml").stat().st_mtime
        except OSError:
            raise ToolRejected(f"The store {self.home} has no Bento {tag}. Materialize `bento` again.") from None
        return datetime.fromtimestamp(seconds, UTC)

    @property
    def packaging(self) -> str:
        """What decides how a model is packaged, beside the model and its rows, for a content key."""
        settings = (self.service, self.timeout, self.max_batch_size, self.max_latency_ms)
        return content_key(settings, requirements(*installed_algorithms()))

    @contextmanager
    def serve(self, tag: str, port: int = 0) -> Iterator[str]:
        """Serves a Bento for as long as the block runs, on this machine only; see `serving.local_server.serving`."""
        if not self.has(tag):
            raise ToolRejected(f"The store {self.home} has no Bento {tag}. Materialize `bento` to package it again.")
        with serving(tag, self.home, self._folder(tag) / "serve.log", port) as url:
            yield url

    def predict(self, url: str, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Scores rows at a running service; see `serving.client.predict`."""
        return client.predict(url, rows, self.timeout, rows_per_request(self.max_batch_size))

    def answers_golden_request(self, ref: BentoRef) -> dict[str, Any]:
        """Starts the Bento, sends its golden request on both routes and compares with the model itself.

        Returns:
            `rows`, `largest_difference` (of a score), `start_seconds`, `latency_ms` (of the second request to
            `predict`: the first one pays for loading), `left_out`.

        Raises:
            ToolRejected: It does not start, refuses the request, or answers something else.
            ToolUnavailable: It is not ready in time.
        """
        began = time.monotonic()
        with self.serve(ref.tag) as url:
            started = time.monotonic()
            return {**self.compare_golden_request(ref, url), "start_seconds": round(started - began, 3)}

    def compare_golden_request(self, ref: BentoRef, url: str) -> dict[str, Any]:
        """Sends a golden request to a running service and compares, as `answers_golden_request` does.

        Raises:
            ToolRejected: The service refuses the request, or answers something else.
            ToolUnavailable: It does not answer.
        """
        golden = _read_golden(Path(ref.golden_request))
        named = [answer.score for answer in self.predict(url, golden.rows)]
        again = time.monotonic()
        self.predict(url, golden.rows)
        answered = time.monotonic()
        lists = client.predict_wire(url, [list(row.values()) for row in golden.rows], self.timeout).scores
        difference = max(_largest_difference(ref.tag, golden.scores, answer) for answer in (named, lists))
        allowed = TOLERANCE * max(1.0, *(abs(score) for score in golden.scores))
        if not difference <= allowed:
            raise ToolRejected(
                f"The Bento {ref.tag} answers its golden request of {len(named)} rows with scores that differ from "
                f"the model's own by up to {difference:.3g}, where at most {allowed:.3g} is allowed. It does not "
                "carry the model that it names, or scores with other package versions: package the model again."
            )
        return {
            "rows": len(named),
            "largest_difference": difference,
            "latency_ms": round((answered - again) * 1000, 2),
            "left_out": golden.left_out,
        }

    def deploy(self, ref: BentoRef, endpoint: str = ENDPOINT) -> DeploymentRef:
        """Makes a Bento the one that the local deployment starts; no server is started here.

        The file keeps what was deployed before. Deploying the same Bento again changes nothing.

        Raises:
            ToolRejected: The store does not hold the Bento; the deployment stays as it was.
        """
        if not self.has(ref.tag):
            raise ToolRejected(
                f"{ref.tag} is not in the store {self.home}: nothing was changed. Materialize `bento` again."
            )
        before = self._deployment_file(ref.brand)
        current = _deployed(before)
        wanted = {
            "brand": ref.brand,
            "bento_tag": ref.tag,
            "model_name": ref.model_name,
            "model_version": ref.model_version,
            "bentoml_home": self.home,
            "endpoint": endpoint,
            "status": "active",
        }
        if current is None or {**current, "previous": None} != {**wanted, "previous": None}:
            previous = {k: v for k, v in (current or {}).items() if k != "previous"} or None
            _write_atomically(before, json.dumps({**wanted, "previous": previous}, indent=2))
        return self.current_deployment(ref.brand)

    def current_deployment(self, brand: str) -> DeploymentRef:
        """What is deployed for a brand: `bento_tag` is None, and the status `pending`, where nothing is yet."""
        path = self._deployment_file(brand)
        found = _deployed(path) or {}
        return DeploymentRef(
            key=content_key(brand, found.get("bento_tag"), found.get("endpoint")),
            brand=brand,
            bento_tag=found.get("bento_tag"),
            location=str(path),
            endpoint=found.get("endpoint", ""),
            status=found.get("status", "pending"),
        )

    def _settings(
        self, model: "ScoringModel", files: Mapping[str, bytes], version: ModelVersion, reference_rows: "pd.DataFrame"
    ) -> ServingSettings:
        """The Bento's settings, tagged by the hash of everything that decides what it answers and how."""
        reference = reference_point(model, reference_rows) if model.algorithm.explainer == LINEAR else ()
        parts = {
            "service": self.service,
            "model_name": version.name,
            "model_version": version.version,
            "brand": version.brand,
            "timeout": self.timeout,
            "max_batch_size": self.max_batch_size,
            "max_latency_ms": self.max_latency_ms,
            "manifest": model.manifest,
            "reference": reference,
        }
        contents = {name: content_key(content.hex()) for name, content in files.items()}
        key = content_key(version.key, contents, code_hash(model.manifest.algorithm), parts)
        tag = f"{_tag_part(version.name)}:{_tag_part(version.version)}-{key}"
        return ServingSettings.model_validate({**parts, "bento_tag": tag, "model_tag": tag})

    def _build(self, files: Mapping[str, bytes], settings: ServingSettings, version: ModelVersion, log: Path) -> None:
        # What a killed build left behind has no manifest and stands in the way of the next one.
        for store in ("bentos", "models"):
            shutil.rmtree(self._in_store(store, settings.bento_tag), ignore_errors=True)
        labels = {"brand": version.brand, "model_version": version.version, "training_key": version.key}
        with tempfile.TemporaryDirectory() as scratch:
            layout = Path(scratch) / "layout"
            layout.mkdir()
            lay_out(layout, files, settings, labels)
            status = self._run_build(layout, Path(scratch), log)
        if status != 0 or not self.has(settings.bento_tag):
            raise ToolRejected(
                f"BentoML did not build {settings.bento_tag} (status {status}). The end of its log {log}:\n{tail(log)}"
            )

    def _run_build(self, layout: Path, scratch: Path, log: Path) -> int:
        environment = clean_environment(self.home, PYTHONPATH=str(layout / build.CONTEXT))
        environment["PATH"] = f"{_without_installer(scratch)}:{environment.get('PATH', '')}"
        command = [sys.executable, "-P", str(Path(build.__file__)), str(layout)]
        with log.open("wb") as sink:
            try:
                return subprocess.run(  # noqa: S603 - our own interpreter, no shell
                    command,
                    env=environment,
                    cwd=scratch,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    timeout=BUILD_TIMEOUT_S,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as err:
                raise ToolUnavailable(
                    f"BentoML's build took longer than {BUILD_TIMEOUT_S} s and was ended. Is the machine overloaded? "
                    f"The end of its log {log}:\n{tail(log)}"
                ) from err

    def _folder(self, tag: str) -> Path:
        return Path(self.state_dir) / "bentos" / tag.replace(":", "/")

    def _in_store(self, store: str, tag: str) -> Path:
        return Path(self.home) / store / tag.replace(":", "/")

    def _deployment_file(self, brand: str) -> Path:
        return Path(self.state_dir) / "deployment" / f"{brand}.json"


def _golden_request(model: "ScoringModel", frame: "pd.DataFrame") -> GoldenRequest:
    features = model.manifest.features
    row = row_model(model.manifest)
    rows: list[dict[str, Any]] = []
    for candidate in rows_of(frame, features):
        try:
            row.model_validate(candidate)
        except ValidationError:
            continue
        rows.append(candidate)
    if not rows:
        raise ToolRejected(
            f"None of the {len(frame)} rows offered for the golden request of {model.manifest.brand} can be sent: "
            "each has a value outside its feature's range. Mend the ranges in features.covariates, or the data."
        )
    scores = tuple(float(score) for score in model.predict(frame_of(rows, features)))
    return GoldenRequest(rows=tuple(rows), scores=scores, left_out=len(frame) - len(rows))


def _read_golden(path: Path) -> GoldenRequest:
    try:
        return GoldenRequest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as err:
        raise ToolRejected(
            f"The golden request {path} cannot be read ({type(err).__name__}). Materialize `bento` to write it again."
        ) from err


def _deployed(path: Path) -> dict[str, Any] | None:
    return read_deployment(path) if path.is_file() else None


def _largest_difference(tag: str, expected: Sequence[float], found: Sequence[float]) -> float:
    if len(expected) != len(found):
        raise ToolRejected(f"The Bento {tag} answered {len(found)} of the {len(expected)} rows of its golden request.")
    return max(abs(e - f) for e, f in zip(expected, found, strict=True))


def _tag_part(text: str) -> str:
    """A name as BentoML's tags allow it: lower case letters, digits, `-`, `_` and `.`."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")


def _without_installer(scratch: Path) -> Path:
    """A folder with a `uv` that does nothing.

    BentoML 1.4 looks for uv before it decides that nothing is to be locked, and installs it from a package index into
    this environment where it finds none.
    """
    stand_in = scratch / "bin" / "uv"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\necho 'uv is not used here' >&2\nexit 1\n", encoding="utf-8")
    stand_in.chmod(0o755)
    return stand_in.parent


def _write_atomically(path: Path, text: str) -> None:
    """Writes for the owner's eyes only: a golden request shows what the model is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as scratch:
        scratch.write(text)
    Path(scratch.name).replace(path)
