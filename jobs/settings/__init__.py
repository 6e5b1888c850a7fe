"""All settings of Headroom: one typed model, read from a TOML file, with every mistake reported at once."""

from jobs.settings.load import SettingsError, load_settings
from jobs.settings.model import (
    DecodeSettings,
    LeaseSettings,
    LimitRule,
    LimitsSettings,
    Settings,
    TableSettings,
    UsageSettings,
    UsageSink,
    WeighImages,
    WindowKind,
    WindowSettings,
)

__all__ = [
    "DecodeSettings",
    "LeaseSettings",
    "LimitRule",
    "LimitsSettings",
    "Settings",
    "SettingsError",
    "TableSettings",
    "UsageSettings",
    "UsageSink",
    "WeighImages",
    "WindowKind",
    "WindowSettings",
    "load_settings",
]
