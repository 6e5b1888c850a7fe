"""What the Spot job tells: kinds of outcome. Pure."""

from enum import StrEnum


class OutcomeKind(StrEnum):
    """What a line of the job's outcomes is."""

    ACTION = "action"  # see `connectors.spot_actions`
    POOL = "pool"  # a change of a pool's market, as in `pools.jsonl`
    MALFORMED = "malformed"  # a record of a live stream that could not be read
    COUNTED = "counted"  # how many records of each kind a batch of a live stream held
