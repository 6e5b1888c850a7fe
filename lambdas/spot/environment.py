"""Environment: what the Spot actuators are set to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.ec2.identifiers import ACCOUNT, REGION
from lambdas.spot.group_policy import DEFAULT_TAG

_WHOLE_PERCENT: Final = 100
_FLAGS: Final = {"": False, "false": False, "true": True}


@dataclass(frozen=True, slots=True)
class Environment:
    """What the Spot actuators are set to.

    Attributes:
        table: the DynamoDB table of the journal.
        creator_queue: the URL of the spot-creator queue.
        swapper_queue: the URL of the instance-swapper queue.
        dead_letter_queue: where messages that can never succeed go, with the reason; None leaves it to the redrive.
        tag: the tag that puts a group under our care.
        prices: a price file; None for none.
        price_cache: where answers of the Price List are kept for a day; None keeps none.
        retry_queue: the URL of the queue that messages come from, where those that go back come again soon; None
            leaves that to the queue.
        compute_percent: how much of each Compute Savings Plan is left for the instances of this Region.
        events_stream: the Kinesis stream that carries EC2's events, for what the scan saw; None for none.
        dry_run: whether nothing is changed, and only logged what would be.
        account: ours.
        region: ours.
    """

    table: str
    creator_queue: str
    swapper_queue: str
    dead_letter_queue: str | None
    tag: str
    prices: Path | None
    events_stream: str | None
    dry_run: bool
    account: str | None
    region: str
    price_cache: Path | None = None
    compute_percent: int = 100
    retry_queue: str | None = None


class ActuatorSettingsError(ValueError):
    """The environment of an actuator is not usable; the text names each variable at fault."""


def read_environment(environment: Mapping[str, str]) -> Environment:
    """The settings in an environment.

    Raises:
        ActuatorSettingsError: A variable is missing or wrong.
    """
    mistakes = [
        f"{name} is not set"
        for name in ("HEADROOM_SWAP_TABLE", "HEADROOM_SPOT_CREATOR_QUEUE", "HEADROOM_INSTANCE_SWAPPER_QUEUE")
        if not environment.get(name)
    ]
    if environment.get("HEADROOM_DRY_RUN", "") not in _FLAGS:
        mistakes.append("HEADROOM_DRY_RUN takes true or false")
    percent = environment.get("HEADROOM_COMPUTE_PLAN_PERCENT") or "100"
    if not (percent.isascii() and percent.isdigit()) or int(percent) > _WHOLE_PERCENT:
        mistakes.append("HEADROOM_COMPUTE_PLAN_PERCENT takes a whole number from 0 to 100")
    account = environment.get("HEADROOM_ACCOUNT") or None
    if account and not ACCOUNT.fullmatch(account):
        mistakes.append("HEADROOM_ACCOUNT takes the 12 digits of an account")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    if not REGION.fullmatch(region):
        mistakes.append("AWS_REGION is not set to a Region")
    if mistakes:
        raise ActuatorSettingsError("; ".join(mistakes))
    return Environment(
        table=environment["HEADROOM_SWAP_TABLE"],
        creator_queue=environment["HEADROOM_SPOT_CREATOR_QUEUE"],
        swapper_queue=environment["HEADROOM_INSTANCE_SWAPPER_QUEUE"],
        dead_letter_queue=environment.get("HEADROOM_DEAD_LETTER_QUEUE") or None,
        tag=environment.get("HEADROOM_MANAGED_TAG") or DEFAULT_TAG,
        prices=Path(environment["HEADROOM_PRICES"]) if environment.get("HEADROOM_PRICES") else None,
        events_stream=environment.get("HEADROOM_EVENTS_STREAM") or None,
        dry_run=_FLAGS[environment.get("HEADROOM_DRY_RUN", "")],
        account=account,
        region=region,
        price_cache=Path(environment["HEADROOM_PRICE_CACHE"]) if environment.get("HEADROOM_PRICE_CACHE") else None,
        compute_percent=int(percent),
        retry_queue=environment.get("HEADROOM_RETRY_QUEUE") or None,
    )
