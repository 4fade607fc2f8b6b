"""What every part of the settings has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
"""A name that may stand in SQL, in Feast and in a path."""


class Part(BaseModel):
    """A part of the settings: frozen, and refuses a key that it does not know."""

    # Built once, by `Settings`, which holds all parts.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
