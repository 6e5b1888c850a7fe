"""What holds for all graphs that the tests run."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def credentials() -> Iterator[None]:
    """Credentials that emulators take, there before the JVM starts: its interpreter takes its environment from it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "example")
        patch.setenv("AWS_REGION", "eu-west-1")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield
