"""All metadata tables together: importing this module registers every one of them."""

from sqlalchemy import MetaData

from e2i_pipeline.metadata import evaluation, features, ledger, operations, quality, training
from e2i_pipeline.metadata.base import Base

MODULES = (quality, training, evaluation, features, operations, ledger)
"""The modules that define tables."""

METADATA: MetaData = Base.metadata
"""The schema that the migrations lead to."""
