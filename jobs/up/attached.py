"""Runs a module as a part of the process that started it: when that dies, however it dies, so does this one. I/O.

python -m jobs.up.attached MODULE ARGUMENT...
"""

import os
import runpy
import signal
import sys
import threading


def follow_parent() -> None:
    """End this process, as by SIGTERM, when its standard input ends."""

    def wait() -> None:
        # Not through sys.stdin, whose lock the interpreter wants at its end.
        while os.read(0, 4_096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    follow_parent()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
