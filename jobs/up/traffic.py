"""A product with many tenants, of which one goes wild: its changes as a stream, at the pace at which they happen. I/O.

It asks the cache before it accepts a write, as a product does: while a tenant is suspended, nothing of it is written.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import boto3
import click
import redis

from connectors.dynamodb.change import TableSchema
from connectors.dynamodb.fast_path import FastPath, WriteCost, peek_time_ms
from jobs.generate import Misbehaving, Profile, SizeRange, records

RUNAWAY: Final = "tenant-runaway"
_FAST_PATH: Final = FastPath({"conversations": TableSchema("pk"), "sessions": TableSchema(None)})
_DAY_MS: Final = 86_400_000
_SEND_EVERY_S: Final = 0.1
_MOST_SENT: Final = 500  # in one PutRecords
_CALM_MS, _WILD_MS = 20_000, 120_000


def profile(start_ms: int, rate_per_s: float, seed: int = 1) -> Profile:
    """What the tenants do in a day: the runaway one is wild for two minutes, and calm for twenty seconds."""
    wild = tuple(
        Misbehaving(RUNAWAY, at_ms, _WILD_MS, rate_per_s / 2, (SizeRange(500, 3_000),))
        for at_ms in range(5_000, _DAY_MS - _WILD_MS, _CALM_MS + _WILD_MS)
    )
    return Profile(
        seed=seed,
        duration_ms=_DAY_MS,
        start_ms=start_ms,
        rate_per_s=rate_per_s,
        tenants=500,
        zipf=0.7,
        misbehaving=wild,
        item_bytes=(SizeRange(40, 1_500, 98), SizeRange(1_500, 8_000, 2)),
        late=0.0005,
        microseconds=0.3,
    )


class Product:
    """Writes what it accepts: that of tenants who are not suspended."""

    def __init__(self, kinesis: Any, stream: str, cache: redis.Redis) -> None:
        self._kinesis = kinesis
        self._stream = stream
        self._cache = cache

    def write(self, changes: Sequence[bytes]) -> None:
        """Write some changes."""
        keys = [_key_of(change) for change in changes]
        suspended = {key for key in set(keys) if key and self._is_suspended(*key)}
        accepted = [
            {"Data": change, "PartitionKey": str(hash(change))}
            for change, key in zip(changes, keys, strict=True)
            if key not in suspended
        ]
        for start in range(0, len(accepted), _MOST_SENT):
            self._kinesis.put_records(StreamName=self._stream, Records=accepted[start : start + _MOST_SENT])

    def _is_suspended(self, table: str, partition_key: str) -> bool:
        try:
            return self._cache.get(f"headroom:suspended:{table}:{partition_key}") is not None
        except redis.RedisError:
            return False


def _key_of(change: bytes) -> tuple[str, str] | None:
    cost = _FAST_PATH.decode(change)
    return (cost.table, cost.partition_key) if isinstance(cost, WriteCost) else None


def due(changes: Iterator[bytes], started_ms: int) -> Iterator[list[bytes]]:
    """The changes in their order, in portions, each when its time has come."""
    portion: list[bytes] = []
    until_ms = started_ms
    for change in changes:
        at_ms = peek_time_ms(change)
        if at_ms is not None and at_ms > until_ms:
            yield portion
            portion = []
            until_ms = max(at_ms, until_ms + round(1_000 * _SEND_EVERY_S))
            time.sleep(max(0.0, until_ms / 1_000 - time.time()))
        portion.append(change)


@click.command()
@click.option("--endpoint", required=True, help="Of Kinesis.")
@click.option("--stream", required=True, help="Its name.")
@click.option("--cache-port", required=True, type=int, help="Of the cache on this machine.")
@click.option("--rate", "rate_per_s", default=200.0, help="Changes a second of all well-behaved tenants.")
def main(endpoint: str, stream: str, cache_port: int, rate_per_s: float) -> None:
    """Write until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    cache = redis.Redis(port=cache_port, socket_timeout=0.1, socket_connect_timeout=0.1)
    product = Product(boto3.client("kinesis", endpoint_url=endpoint), stream, cache)
    started_ms = time.time_ns() // 1_000_000
    for portion in due(records(profile(started_ms, rate_per_s)), started_ms):
        product.write(portion)


if __name__ == "__main__":
    main()
