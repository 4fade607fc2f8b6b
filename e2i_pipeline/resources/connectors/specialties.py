"""A source's own specialties as those that the platform knows, in SQL: of providers in every clinical standard."""

from e2i_pipeline.domain.quality import SPECIALTIES
from e2i_pipeline.resources.engine import literal

OTHER = "other"
"""What a specialty becomes that the platform does not know; its own words go into `sub_specialty`."""


def is_known_sql(words: str) -> str:
    """The condition that a specialty is one that the platform knows; null where there is none.

    Args:
        words: SQL expression of the specialty as the source has it.
    """
    folded = f"lower(trim(replace(replace({words}, '_', ' '), '&', 'and')))"
    return f"({folded} IN ({', '.join(map(literal, SPECIALTIES))}))"


def specialty_sql(words: str) -> str:
    """The specialty: as the source has it where the platform knows it, `OTHER` elsewhere, null where there is none."""
    return f"CASE WHEN {is_known_sql(words)} THEN {words} WHEN {words} IS NOT NULL THEN '{OTHER}' END"


def sub_specialty_sql(words: str) -> str:
    """The source's own words where the platform does not know them."""
    return f"CASE WHEN NOT {is_known_sql(words)} THEN {words} END"
