"""The order of the suite, and how patient its property tests are."""

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy, and speed is for benchmarks to tell: Hypothesis fails what takes 0.2 s unless told otherwise.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin what takes long first: files are dealt to processes whole, and one begun last is waited for by all."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("long", "flink"))))
