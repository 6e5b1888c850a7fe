"""What a replay prints besides its files."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Output:
    """How a replay speaks: to a person, to a program, or not at all.

    Attributes:
        as_json: One JSON object on stdout, in place of words.
        quiet: No words, nor how far the replay is.
    """

    as_json: bool = False
    quiet: bool = False

    def print(self, result: dict[str, Any], show: Callable[[], None]) -> None:
        """Print the result as an object, or let it be shown in words."""
        if self.as_json:
            sys.stdout.buffer.write((json.dumps(result, ensure_ascii=False) + "\n").encode())
        elif not self.quiet:
            show()
