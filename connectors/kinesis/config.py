"""What the source must know to read a stream. Pure."""

from dataclasses import dataclass

from connectors.kinesis.positions import OLDEST, Position


@dataclass(frozen=True, slots=True)
class KinesisConfig:
    """A stream and how it is read; what a job makes of its own settings.

    Attributes:
        stream: The stream's name.
        region: Its AWS Region; None leaves it to the environment.
        endpoint_url: An endpoint in place of AWS's own, for emulators and VPC endpoints.
        start: Where reading begins when there is no checkpoint to go on from.
        poll_interval_ms: How often a shard is asked that had nothing more to give. Kinesis allows five calls a second
            to a shard, of all its readers together.
        discovery_interval_ms: How often new shards are looked for.
        margin_ms: How long a shard that has nothing more to give is waited for, beside the out-of-orderness.
        max_drift_ms: How far a shard's event time may run ahead of the slowest shard of its subtask.
        out_of_orderness_ms: How far behind the newest event of its shard an event may come and still count.
    """

    stream: str
    region: str | None = None
    endpoint_url: str | None = None
    start: Position = OLDEST
    poll_interval_ms: int = 250
    discovery_interval_ms: int = 10_000
    margin_ms: int = 1_000
    max_drift_ms: int = 30_000
    out_of_orderness_ms: int = 2_000
