"""How a product asks whether it shall accept work: one GET, and yes when the cache does not answer."""

import redis

cache = redis.Redis.from_url("redis://localhost:6379", socket_timeout=0.1, socket_connect_timeout=0.1)


def is_suspended(table: str, partition_key: str) -> bool:
    try:
        return cache.get(f"headroom:suspended:{table}:{partition_key}") is not None
    except redis.RedisError:
        return False  # fail open: a guard that is down must not take the product down
