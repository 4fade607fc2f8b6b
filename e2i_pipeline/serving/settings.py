"""What a Bento knows about itself: one JSON file beside its code, written when it is packaged and read when it starts.

How a request is answered stands in `service`, how the file gets into the Bento in `packaging`.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.model_files import ModelManifest
from e2i_pipeline.errors import ConfigurationError

SETTINGS_FILE = "serving.json"
"""Name of the file at the root of the Bento's code."""


class ServingSettings(Contract):
    """One Bento: which model it carries and how it serves.

    Attributes:
        service: Name of the service.
        bento_tag: The Bento's own tag, `name:version`.
        model_tag: The model in BentoML's model store, `name:version`.
        model_name: Registered name of the model.
        model_version: Its version in the registry.
        brand: The brand.
        timeout: Seconds after which a request is answered with 504.
        max_batch_size: Rows that are scored together, 1 for none; also the most rows in one request to `predict`.
        max_latency_ms: Milliseconds that a request may take while others are scored with it. BentoML sheds one that
            would take longer with a 503: at the platform's 100, 0.2 to 3 % of the requests of 8 to 64 connections that
            kept 2 cores saturated; at 2000 none.
        manifest: The model's manifest, from which the request's schema is made.
        reference: Where the explanations of a linear model start (see `domain.attribution.reference_point`); empty
            for a booster.
    """

    service: str
    bento_tag: str
    model_tag: str
    model_name: str
    model_version: str
    brand: str
    timeout: int = Field(ge=1)
    max_batch_size: int = Field(ge=1)
    max_latency_ms: int = Field(ge=1)
    manifest: ModelManifest
    reference: tuple[float, ...] = ()


def read_settings(path: Path) -> ServingSettings:
    """Reads the settings of a Bento.

    Raises:
        ConfigurationError: There is no such file, or it is not what `packaging` writes.
    """
    try:
        return ServingSettings.model_validate_json(path.read_bytes())
    except OSError as err:
        raise ConfigurationError(
            f"{path} cannot be read ({err.strerror}): this module is started by a Bento, which carries that file. "
            "Serve a Bento by its tag."
        ) from err
    except ValidationError as err:
        raise ConfigurationError(f"{path} has {err.error_count()} problems: package the model again.") from err
