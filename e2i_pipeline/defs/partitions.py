"""The partition that every stage from `training_dataset` on shares: the brand."""

import dagster as dg

from e2i_pipeline.config.loader import settings

BRANDS = dg.StaticPartitionsDefinition(settings().brands)
"""One partition per configured brand."""
