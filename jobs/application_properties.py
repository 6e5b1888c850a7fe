"""Where a job on Managed Service for Apache Flink finds its property groups. I/O."""

import os
from pathlib import Path
from typing import Final

from jobs.settings.properties import Groups, PropertiesError, parse_json

PROPERTIES_FILE: Final = Path("/etc/flink/application_properties.json")
"""Source: https://docs.aws.amazon.com/managed-flink/latest/java/how-properties.html"""

PROPERTIES_VARIABLE: Final = "HEADROOM_APPLICATION_PROPERTIES"
"""Names another file, for `headroom package check` where nothing can be put in the place of the usual one."""


CHECK_GROUP: Final = "package.check"
"""A group with the keys `recording` and `out`: a job reads that file and writes what it decides as lines there."""


def application_properties() -> Groups:
    """The property groups of the application that this process belongs to.

    Raises:
        PropertiesError: There are none, or the file does not hold property groups.
    """
    path = Path(os.environ.get(PROPERTIES_VARIABLE) or PROPERTIES_FILE)
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise PropertiesError([f"{path}: cannot be read: {error.strerror}"]) from error
    except PropertiesError as error:
        raise PropertiesError([f"{path}: {problem}" for problem in error.problems]) from error
