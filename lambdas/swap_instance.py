"""Swap instance: takes a twin into its group once it is healthy, and ends its original once the twin serves (P3).

Takes messages of the instance-swapper queue, each of which says: look at this group again. What is to be done is in the
journal; a message that is forged, repeated or old does nothing that the journal does not ask for.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from connectors.actions import UnknownActionError
from connectors.swap_messages import SwapInstance, decode
from lambdas.spot.actuator import Actuator
from lambdas.spot.invocation import actuator, work_off

logger = Logger(service="swap-instance")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """The messages that go back to the queue.

    Raises:
        ActuatorSettingsError: The environment is not usable.
    """
    made = actuator("swap-instance", context, logger)
    return work_off(made, event, context, lambda body: swap(made, body))


def swap(made: Actuator, body: bytes) -> None:
    """Takes the swaps of a group as far as they go now.

    Raises:
        MalformedActionError: The message is none.
        UnknownActionError: It is another.
        ForeignError: It is about another account or Region.
        AmazonError: It may do later.
        UndoneError: It was refused.
    """
    message = decode(body)
    if not isinstance(message, SwapInstance):
        reason = "this queue takes swap_instance"
        raise UnknownActionError(reason)
    made.require_ours(message.account, message.region)
    made.report(made.driver().drive(message.group, before_wait=made.wake, wake=message.wake))
