"""What the sections of the settings have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A named part of the settings: frozen, and what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
