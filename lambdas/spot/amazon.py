"""Amazon: the clients of the Spot actuators, and how long they may take to answer."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

CONNECT_S: Final = 2
READ_S: Final = 10
ATTEMPTS: Final = 2
"""Once more, and then the queue asks again: a function that waits costs money, and its claim runs out."""


class Refusal(StrEnum):
    """What an error of a call means for whoever made it."""

    NO_CAPACITY = "no_capacity"
    """There is no capacity of this kind; another may be had."""
    QUOTA = "quota"
    """No more Spot Instances at all; On-Demand ones may be had."""
    DENIED = "denied"
    """The actuator's role lacks a right; only a person can help."""
    TRANSIENT = "transient"
    """Throttled, timed out or broken on their side: the same call may do later."""
    REFUSED = "refused"
    """Not like this: what is true has changed, or was never so."""


# Source: EC2 API Reference, errors-overview.
_NO_CAPACITY: Final = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
        "Unsupported",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
    }
)
_QUOTA: Final = frozenset({"MaxSpotInstanceCountExceeded"})
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "AuthFailure",
        "OptInRequired",
        "UnauthorizedAccess",
    }
)
_TRANSIENT: Final = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "Unavailable",
        "ResourceContention",
        "ScalingActivityInProgress",
        "RequestExpired",
        "ExpiredToken",
        "InsufficientFreeAddressesInSubnet",
    }
)
_SERVER_ERROR: Final = 500


class AmazonError(Exception):
    """A call that failed: which, what that means, and what was said."""

    def __init__(self, refusal: Refusal, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.refusal = refusal
        self.operation = operation
        self.code = code
        self.said = message


class UnreadError(AmazonError):
    """The journal could not be read, so nothing was begun."""


_NO_ANSWER: Final = "the answer is none of AWS's; a proxy or an emulator gave it"

CALL_FAILED: Final = (ClientError, BotoCoreError, ResponseParserError)
"""What botocore raises of a call that did not do: refused, without an answer, or with one that is none of AWS's."""


def amazon_error(error: ClientError | BotoCoreError | ResponseParserError, operation: str = "") -> AmazonError:
    """What an error of boto3 means."""
    if not isinstance(error, ClientError):
        what = _NO_ANSWER if isinstance(error, ResponseParserError) else str(error)
        return AmazonError(Refusal.TRANSIENT, operation, type(error).__name__, what)
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if message.lstrip().startswith("<"):
        code, message = str(status), _NO_ANSWER
    return AmazonError(_meaning(code, status), error.operation_name, code, message)


def _meaning(code: str, status: int) -> Refusal:
    for refusal, codes in (
        (Refusal.NO_CAPACITY, _NO_CAPACITY),
        (Refusal.QUOTA, _QUOTA),
        (Refusal.DENIED, _DENIED),
        (Refusal.TRANSIENT, _TRANSIENT),
    ):
        if code.removeprefix("Client.").removeprefix("Server.") in codes:
            return refusal
    return Refusal.TRANSIENT if status >= _SERVER_ERROR else Refusal.REFUSED


@dataclass(frozen=True)
class Clients:
    """The clients that one invocation uses."""

    ec2: Any
    autoscaling: Any
    elbv2: Any
    elb: Any
    cloudformation: Any
    dynamodb: Any
    sqs: Any
    kinesis: Any
    savingsplans: Any
    pricing: Any


_PRICE_LIST_REGIONS: Final = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}
"""Where the Price List answers for all Regions of a partition. Source: AWS General Reference, billing endpoints."""


def connect(session: Any = None, *, endpoint: str | None = None) -> Clients:
    """Clients of the account, Region and endpoints that the environment or the session names, or of one endpoint."""
    session = session or boto3.session.Session()
    config = Config(
        connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"mode": "standard", "total_max_attempts": ATTEMPTS}
    )
    names = ("ec2", "autoscaling", "elbv2", "elb", "cloudformation", "dynamodb", "sqs", "kinesis", "savingsplans")
    prices = _PRICE_LIST_REGIONS.get(session.get_partition_for_region(session.region_name), session.region_name)
    return Clients(
        **{name: session.client(name, config=config, endpoint_url=endpoint) for name in names},
        pricing=session.client("pricing", region_name=prices, config=config, endpoint_url=endpoint),
    )
