"""The order of the suite."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin what takes long first: files are dealt to processes whole, and one begun last is waited for by all."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("long", "flink"))))
