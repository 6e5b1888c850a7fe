"""Findings of cdk-nag's AwsSolutions pack that stand, each with the reason why."""

from typing import Final

from cdk_nag import NagPackSuppression, NagSuppressions
from constructs import Construct, IConstruct

# By the end of the path of the resource that they are for, and the finding.
_STANDING: Final = (
    (
        "AwsSolutions-IAM5",
        ("Action::", "Resource::"),
        "Wildcards that are left: calls that describe have no narrower resource; resources that are not there yet when "
        "the policy is written (instances, volumes, network interfaces, log streams, objects of the ledger) are bounded "
        "by a tag, a launch template, or a prefix. tests/infra holds what must be denied.",
    ),
)


def explain(stack: Construct) -> None:
    """Put the reasons beside the resources that they are for."""
    for construct in stack.node.find_all():
        for suffix, finding, reason in _AT:
            if construct.node.path.endswith(suffix):
                NagSuppressions.add_resource_suppressions(
                    construct, [NagPackSuppression(id=finding, reason=reason)], apply_to_children=True
                )


_DEAD_LETTERS: Final = "It is a dead-letter queue itself; an alarm tells of the first message in it."
_CUSTOM_RESOURCE: Final = "CDK's own function for custom resources; its runtime comes with the version of CDK."

_AT: Final = (
    ("/EventsUndelivered", "AwsSolutions-SQS3", _DEAD_LETTERS),
    ("/AccessLogs", "AwsSolutions-S1", "It is the bucket that access logs go to."),
)


def is_construct(value: object) -> bool:
    """Whether something can carry a suppression."""
    return isinstance(value, IConstruct)
