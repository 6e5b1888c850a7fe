"""What the Spot job tells: kinds of outcome. Pure."""

from enum import StrEnum


class OutcomeKind(StrEnum):
    """What a line of the job's outcomes is."""

    ACTION = "action"  # see `connectors.spot_actions`
    POOL = "pool"  # a change of a pool's market, a line of `pools.jsonl`
    MALFORMED = "malformed"  # a record of a live stream that could not be read
    IGNORED = "ignored"  # one that is plainly not ours
