"""The cache that the actuator writes to: its address and login from the environment, and a client for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError
from botocore.session import get_session
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lambdas.suspend.elasticache import ElastiCacheLogin, ElastiCacheUser

DEFAULT_TIMEOUT_MS = 1_000
CONNECTION_LIFE_S = 6 * 3_600
"""Half of the time after which ElastiCache cuts a connection that logged in by IAM."""

_FLAGS = {"": False, "false": False, "true": True}


class CacheSettingsError(ValueError):
    """Environment variables that name no cache, or contradict each other; the message tells every mistake."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where the cache is, and who logs in by IAM, if anyone.

    `timeout_ms` is for each of: connecting, logging in, asking.
    """

    url: str
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    iam_user: ElastiCacheUser | None = None


def read_cache_settings(environment: Mapping[str, str]) -> CacheSettings:
    """The settings in a set of environment variables.

    Raises:
        CacheSettingsError: One or more of them are missing or not usable.
    """
    url = environment.get("HEADROOM_CACHE_URL", "")
    timeout = environment.get("HEADROOM_CACHE_TIMEOUT_MS", str(DEFAULT_TIMEOUT_MS))
    mistakes = [*_url_mistakes(url), *_iam_mistakes(environment, url)]
    if not (timeout.isascii() and timeout.isdigit() and 1 <= int(timeout) <= 60_000):
        mistakes.append("HEADROOM_CACHE_TIMEOUT_MS takes a whole number from 1 to 60000")
    if mistakes:
        raise CacheSettingsError("; ".join(mistakes))
    return CacheSettings(url=url, timeout_ms=int(timeout), iam_user=_iam_user(environment))


def connection_period(now_s: float) -> int:
    """A number that changes at least once in the life of a connection; a new one means: connect anew."""
    return int(now_s // CONNECTION_LIFE_S)


def connect(settings: CacheSettings) -> Redis:
    """A client that connects at its first command, and logs in at every connection.

    Raises:
        NoCredentialsError: The login is by IAM, and there are no AWS credentials.
    """
    timeout_s = settings.timeout_ms / 1_000
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # whoever asks decides whether to ask again
        "lib_name": None,  # with either of these two, CLIENT SETINFO would be asked for, which the user may not
        "lib_version": None,
    }
    if settings.url.startswith("rediss:"):
        options["ssl_check_hostname"] = True
    if settings.iam_user:
        credentials = get_session().get_credentials()
        if credentials is None:
            raise NoCredentialsError
        options["credential_provider"] = ElastiCacheLogin(settings.iam_user, credentials)
    return Redis.from_url(settings.url, **options)


def _url_mistakes(url: str) -> list[str]:
    address = urlsplit(url)
    if address.scheme in {"redis", "rediss"} and address.hostname:
        return []
    return ["HEADROOM_CACHE_URL takes redis://host:port, or rediss://host:port for TLS"]


def _iam_mistakes(environment: Mapping[str, str], url: str) -> list[str]:
    if not environment.get("HEADROOM_CACHE_IAM_USER"):
        return []
    name = environment.get("HEADROOM_CACHE_NAME", "")
    address = urlsplit(url)
    wrong = {
        "HEADROOM_CACHE_IAM_USER needs TLS: HEADROOM_CACHE_URL must begin with rediss://": address.scheme != "rediss",
        "HEADROOM_CACHE_URL has a user or password beside HEADROOM_CACHE_IAM_USER": "@" in address.netloc,
        "HEADROOM_CACHE_NAME takes the cache's name, in lower case": not name or name != name.lower(),
        "HEADROOM_CACHE_SERVERLESS takes true or false": environment.get("HEADROOM_CACHE_SERVERLESS", "") not in _FLAGS,
        "AWS_REGION is not set": not environment.get("AWS_REGION"),
    }
    return [mistake for mistake, is_made in wrong.items() if is_made]


def _iam_user(environment: Mapping[str, str]) -> ElastiCacheUser | None:
    user = environment.get("HEADROOM_CACHE_IAM_USER")
    if not user:
        return None
    return ElastiCacheUser(
        user=user,
        cache_name=environment["HEADROOM_CACHE_NAME"],
        serverless=_FLAGS[environment.get("HEADROOM_CACHE_SERVERLESS", "")],
        region=environment["AWS_REGION"],
    )
