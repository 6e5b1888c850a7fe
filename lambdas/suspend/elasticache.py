"""ElastiCache logins by IAM: in place of a password, a request that is signed for one cache and one user.

Source: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
"""

from dataclasses import dataclass
from typing import Protocol

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from redis.credentials import CredentialProvider

TOKEN_VALID_S = 900  # the most that ElastiCache accepts


@dataclass(frozen=True, slots=True)
class ElastiCacheUser:
    """Who logs in, and where: the user's id equals its name, and `cache_name` is lower-case.

    `cache_name` names a serverless cache or the replication group of one with nodes.
    """

    user: str
    cache_name: str
    serverless: bool
    region: str


class Credentials(Protocol):
    """What a botocore session gives: credentials that renew themselves."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Credentials as they are now."""


def login_token(user: ElastiCacheUser, credentials: ReadOnlyCredentials) -> str:
    """The password of a login in the next 15 minutes."""
    action = {"Action": "connect", "User": user.user}
    kind = {"ResourceType": "ServerlessCache"} if user.serverless else {}
    request = AWSRequest(method="GET", url=f"https://{user.cache_name}/", params=action | kind)
    SigV4QueryAuth(credentials, "elasticache", user.region, expires=TOKEN_VALID_S).add_auth(request)
    return str(request.url).removeprefix("https://")


class ElastiCacheLogin(CredentialProvider):
    """Gives each new connection a token of its own.

    Signing asks nobody and takes less than a millisecond, so no token is kept, and none can be too old.
    """

    def __init__(self, user: ElastiCacheUser, credentials: Credentials) -> None:
        self._user = user
        self._credentials = credentials

    def get_credentials(self) -> tuple[str, str]:
        """The user, and a token signed now."""
        return self._user.user, login_token(self._user, self._credentials.get_frozen_credentials())
