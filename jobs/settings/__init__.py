"""All settings of Headroom: one typed model, read from a TOML file, with every mistake reported at once."""

from jobs.settings.aws import KinesisReader, KinesisSettings, SqsSettings
from jobs.settings.load import SettingsError, load_settings
from jobs.settings.model import (
    DecodeSettings,
    LeaseSettings,
    LimitRule,
    LimitsSettings,
    RulesSettings,
    Settings,
    TableSettings,
    UsageSettings,
    UsageSink,
    WeighImages,
    WindowKind,
    WindowSettings,
)
from jobs.settings.spot import MarketSettings, SignalSettings, SpotSettings

__all__ = [
    "DecodeSettings",
    "KinesisReader",
    "KinesisSettings",
    "LeaseSettings",
    "LimitRule",
    "LimitsSettings",
    "MarketSettings",
    "RulesSettings",
    "Settings",
    "SettingsError",
    "SignalSettings",
    "SpotSettings",
    "SqsSettings",
    "TableSettings",
    "UsageSettings",
    "UsageSink",
    "WeighImages",
    "WindowKind",
    "WindowSettings",
    "load_settings",
]
