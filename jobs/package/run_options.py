"""Run options: what Managed Service for Apache Flink is told of how to run a package. Pure.

Source: https://docs.aws.amazon.com/managed-flink/latest/java/how-python-creating.html
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

GROUP: Final = "kinesis.analytics.flink.run.options"
"""The property group that they are in."""

JAR_FOLDER: Final = "lib"
"""Where a connector jar is in a package."""


def run_options(files: Iterable[str]) -> dict[str, str]:
    """The options for a package of these files; with `jarfile` where a connector jar is among them."""
    options = {"python": "main.py", "pyFiles": "dep/"}
    jars = sorted(name for name in files if PurePosixPath(name).match(f"{JAR_FOLDER}/*.jar"))
    if jars:
        options["jarfile"] = jars[0]
    return options
