"""The entry point inside a Bento: BentoML imports this module, and takes `service` from it.

It can only be imported where a Bento's settings lie beside the package, so nothing else of ours imports it.
"""

from pathlib import Path

from e2i_pipeline.serving.service import prediction_service
from e2i_pipeline.serving.settings import SETTINGS_FILE, read_settings

service = prediction_service(read_settings(Path(__file__).resolve().parents[2] / SETTINGS_FILE))
