"""Findings of cdk-nag's AwsSolutions pack, and of Checkov, that stand, each with the reason why."""

from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from cdk_nag import NagPackSuppression, NagSuppressions, RegexAppliesTo
from constructs import Construct


@dataclass(frozen=True, slots=True)
class Standing:
    """A finding that stands on the constructs whose path ends in `at`; of a wildcard, only the one that matches."""

    at: str
    finding: str
    reason: str
    wildcard: str | None = None


_DESCRIBES: Final = "Calls that describe know no narrower resource; nothing that changes anything is among them."
_TAGGED: Final = (
    "What will be launched or changed has no name yet when the policy is written. Every statement with this wildcard "
    "asks for a tag or a launch template; tests/infra holds what must be denied."
)
_LOG_GROUPS: Final = "logs:DescribeLogGroups knows no narrower resource, and tells names only."
_FLEET: Final = ("ScanCandidates", "CreateSpot", "SwapInstance", "ReplaceInterrupted", "ReapOrphans")
_LAUNCHED: Final = "ec2:<AWS::Region>:(<AWS::AccountId>)?:[a-z-]+\\/\\*"
_GROUPS: Final = "autoscaling:.*:autoScalingGroup:\\*:autoScalingGroupName\\/\\*"

STANDING: Final = (
    Standing("/Changes", "AwsSolutions-KDS3", "One key for all, with its own policy and rotation, is what is wanted."),
    Standing("/Rules/Stream", "AwsSolutions-KDS3", "Its key says who may write there, which AWS's own key cannot."),
    Standing("/Events", "AwsSolutions-KDS3", "One key for all, with its own policy and rotation, is what is wanted."),
    Standing(
        "/EventsUndelivered",
        "AwsSolutions-SQS3",
        "A dead-letter queue itself, of EventBridge, which cdk-nag overlooks.",
    ),
    Standing(
        "RolePolicy",
        "AwsSolutions-IAM5",
        "The service-linked role of DynamoDB's stream destinations, whose name AWS chooses.",
        "role\\/aws-service-role\\/kinesisreplication",
    ),
    Standing("RolePolicy", "AwsSolutions-IAM5", _LOG_GROUPS, "log-group:\\*$"),
    Standing(
        "/SuspendRolePolicy",
        "AwsSolutions-IAM5",
        "Lambda's network interfaces have no names beforehand. The function itself is denied all of EC2.",
        "^Resource::\\*$",
    ),
    *(Standing(f"/{name}RolePolicy", "AwsSolutions-IAM5", _DESCRIBES, "^Resource::\\*$") for name in _FLEET),
    *(Standing(f"/{name}RolePolicy", "AwsSolutions-IAM5", _TAGGED, _LAUNCHED) for name in _FLEET),
    *(Standing(f"/{name}RolePolicy", "AwsSolutions-IAM5", _TAGGED, _GROUPS) for name in _FLEET),
    Standing(
        "/JobRolePolicy",
        "AwsSolutions-IAM5",
        "Files of the ledger, whose names follow from their content; bounded by the prefix.",
        "\\/ledger\\/\\*$",
    ),
    *(
        Standing(
            f"/{name}", "AwsSolutions-L1", "The package is built for Python 3.12 and checked with it, as Flink is."
        )
        for name in ("Suspend", *_FLEET)
    ),
)


_BY_A_QUEUE: Final = "Called by a queue, to which what fails goes back, and which has a dead-letter queue."
_ON_A_SCHEDULE: Final = "The next run does what this one did not; alarms tell of runs that fail or do not come."
_CALLS_ONLY_AWS: Final = (
    "It calls AWS alone, and nothing reaches it; in a network it would need endpoints for all of it."
)
_AS_MANY_AS_COME: Final = "A reserve would put off what comes at once, and a put off message counts as received."
_BY_CLOUDFORMATION: Final = "CDK's own: CloudFormation calls it once, with no one else, and waits for what it answers."
_SCHEDULED: Final = ("ScanCandidates", "ReapOrphans")
_QUEUED: Final = ("CreateSpot", "SwapInstance", "ReplaceInterrupted")
OF_CUSTOM_RESOURCES: Final = "AWS679f53fac002430cb0da5b7982bd2287"
"""How CDK begins the name of the function that makes the calls of custom resources."""

STANDING_FOR_CHECKOV: Final = (
    *(Standing(f"/{name}/Resource", "CKV_AWS_116", _BY_A_QUEUE) for name in ("Suspend", *_QUEUED)),
    *(Standing(f"/{name}/Resource", "CKV_AWS_116", _ON_A_SCHEDULE) for name in _SCHEDULED),
    *(Standing(f"/{name}/Resource", "CKV_AWS_117", _CALLS_ONLY_AWS) for name in _FLEET),
    *(Standing(f"/{name}/Resource", "CKV_AWS_115", _AS_MANY_AS_COME) for name in ("Suspend", *_QUEUED)),
    *(
        Standing(f"{OF_CUSTOM_RESOURCES}/Resource", f"CKV_AWS_{number}", _BY_CLOUDFORMATION)
        for number in (115, 116, 117)
    ),
    Standing("/AccessLogs/Resource", "CKV_AWS_18", "It holds the access logs of the others."),
    Standing(
        "/SuspendRole/Policy/Resource",
        "CKV_AWS_111",
        "Lambda's network interfaces have no names beforehand. The function itself is denied all of EC2.",
    ),
)


def explain(stack: Construct) -> None:
    """Put the reasons beside the resources that they are for."""
    for construct in stack.node.find_all():
        # The policy of a role is a construct in the role: "<name>Role/Policy".
        path = construct.node.path.replace("Role/Policy", "RolePolicy")
        for each in STANDING:
            if path.endswith(each.at):
                wildcards = [RegexAppliesTo(regex=f"/{each.wildcard}/")] if each.wildcard else None
                suppression = NagPackSuppression(id=each.finding, reason=each.reason, applies_to=wildcards)
                NagSuppressions.add_resource_suppressions(construct, [suppression], apply_to_children=True)
        skipped = [
            {"id": each.finding, "comment": each.reason}
            for each in STANDING_FOR_CHECKOV
            if construct.node.path.endswith(each.at)
        ]
        if skipped and isinstance(construct, cdk.CfnResource):
            construct.add_metadata("checkov", {"skip": skipped})
