"""Which calls of an actuator a test fails, one after the other."""

import os


def calls_to_fail(most: int, begin: int = 0) -> range:
    """Every third call, since what follows each takes its time; with HEADROOM_EVERY_CALL, as in make faults-spot, all.

    Args:
        most: More than there are calls.
        begin: Where every third begins, which differs from case to case of a test, so that none is left out by all.
    """
    return range(most) if os.environ.get("HEADROOM_EVERY_CALL") else range(begin % 3, most, 3)
