"""What every section of the settings is made of: its rules, units and types. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from jobs.settings.durations import format_duration
from jobs.settings.toml_text import toml_path


@dataclass(frozen=True, slots=True)
class Unit:
    """What a setting is given in, as the reference table calls it."""

    name: str


DURATION = Unit("duration")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Settings that are each allowed, but not together.

    The path leads from the section that found it, in TOML names, to the setting to change.
    """

    path: tuple[str | int, ...]
    text: str


def quoted(duration_ms: int) -> str:
    """A duration as TOML has it."""
    return f'"{format_duration(duration_ms)}"'


DurationMs = Annotated[int, DURATION]
Flag = Annotated[bool, Unit("flag")]


class Section(BaseModel):
    """A table of settings: frozen, strict about types, closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """Conflicts between values of this section that are each allowed.

        Args:
            values: By field name, as `model_dump` gives them. A value that is not allowed in itself is
                missing (an array's element: None), so that its mistake does not hide the conflicts of others.
        """
        return iter(())

    @model_validator(mode="after")
    def _without_conflict(self) -> Self:
        conflicts = list(self.conflicts(self.model_dump()))
        if conflicts:
            message = "; ".join(f"{toml_path(each.path)}: {each.text}".removeprefix(": ") for each in conflicts)
            raise ValueError(message)
        return self
