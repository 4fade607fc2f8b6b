"""What every part of the settings has in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the settings: frozen, and refuses a key that it does not know."""

    # Built once, by `Settings`, which holds all parts.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
