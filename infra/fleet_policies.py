"""What the actuators of Spot may do, function by function. Every call that changes something asks for a tag.

Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssavingsplans.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awspricelist.html
"""

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.parts import allow

OWN_TAG: Final = "headroom:swap"
"""On every instance that the actuators launched, from its launch on, and on nothing else."""


def look(*, prices: bool) -> list[iam.PolicyStatement]:
    """Reading what is there, for which AWS knows no narrower resource than everything."""
    actions = [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeInstanceRefreshes",
        "cloudformation:DescribeStacks",
        "cloudformation:ListStacks",
        "ec2:DescribeInstanceAttribute",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeVolumes",
        "elasticloadbalancing:DescribeInstanceHealth",
        "elasticloadbalancing:DescribeTargetHealth",
    ]
    of_prices = [
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeReservedInstances",
        "ec2:DescribeSpotPriceHistory",
        "ec2:GetSpotPlacementScores",
        "pricing:GetProducts",
        "savingsplans:DescribeSavingsPlanRates",
        "savingsplans:DescribeSavingsPlans",
    ]
    return [allow([*actions, *(of_prices if prices else [])], ["*"], sid="Look")]


def change_groups(tag: str, actions: Sequence[str]) -> iam.PolicyStatement:
    """Changing Auto Scaling groups that carry the tag."""
    return allow(
        [f"autoscaling:{action}" for action in actions],
        [_arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*")],
        {"Null": {f"autoscaling:ResourceTag/{tag}": "false"}},
        sid="ChangeTaggedGroups",
    )


def end_own_instances() -> iam.PolicyStatement:
    """Ending instances that the actuators launched; an original ends through its group, which has to carry the tag."""
    return allow(
        ["ec2:TerminateInstances"],
        [_arn("ec2", "instance/*")],
        {"Null": {f"ec2:ResourceTag/{OWN_TAG}": "false"}},
        sid="EndOwnInstances",
    )


def launch(tag: str, instance_role_arns: Sequence[str]) -> list[iam.PolicyStatement]:
    """Launching instances from launch templates that carry the tag, with what these templates say.

    Spot Instances and, where a market is bad, On-Demand ones: every one carries our tag from its launch on.
    """
    from_a_template = {"ArnLike": {"ec2:LaunchTemplate": _arn("ec2", "launch-template/*")}}
    as_it_says = {"Bool": {"ec2:IsLaunchTemplateResource": "true"}}
    statements = [
        allow(
            ["ec2:RunInstances"],
            [_arn("ec2", "instance/*")],
            from_a_template | {"Null": {f"aws:RequestTag/{OWN_TAG}": "false"}},
            sid="LaunchWithOwnTag",
        ),
        allow(
            ["ec2:RunInstances"],
            [_arn("ec2", "launch-template/*")],
            {"Null": {f"ec2:ResourceTag/{tag}": "false"}},
            sid="LaunchFromTaggedTemplates",
        ),
        allow(
            ["ec2:RunInstances"],
            [
                f"arn:{cdk.Aws.PARTITION}:ec2:{cdk.Aws.REGION}::image/*",
                f"arn:{cdk.Aws.PARTITION}:ec2:{cdk.Aws.REGION}::snapshot/*",
                *(_arn("ec2", each) for each in ("image/*", "key-pair/*", "security-group/*", "snapshot/*")),
            ],
            from_a_template | as_it_says,
            sid="LaunchWhatTheTemplateSays",
        ),
        allow(
            ["ec2:RunInstances"],
            # Where and on what is chosen for each twin: the subnet of its original, and disks of its own.
            [_arn("ec2", each) for each in ("network-interface/*", "subnet/*", "volume/*", "spot-instances-request/*")],
            from_a_template,
            sid="LaunchIntoChosenSubnet",
        ),
        allow(
            ["ec2:CreateTags"],
            [
                _arn("ec2", each)
                for each in ("instance/*", "network-interface/*", "volume/*", "spot-instances-request/*")
            ],
            {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            sid="TagWhileLaunching",
        ),
    ]
    if instance_role_arns:
        statements.append(
            allow(
                ["iam:PassRole"],
                instance_role_arns,
                {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
                sid="PassInstanceRoles",
            )
        )
    return statements


def keep_tags() -> list[iam.PolicyStatement]:
    """No actuator widens its own rights by moving the tags that they hang on."""
    return [
        iam.PolicyStatement(
            sid="NoTagAfterwards",
            effect=iam.Effect.DENY,
            actions=["ec2:CreateTags"],
            resources=["*"],
            conditions={"StringNotEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
        iam.PolicyStatement(
            sid="NoTagTaken",
            effect=iam.Effect.DENY,
            actions=["autoscaling:CreateOrUpdateTags", "autoscaling:DeleteTags", "ec2:DeleteTags"],
            resources=["*"],
        ),
    ]


def _arn(service: str, resource: str) -> str:
    return f"arn:{cdk.Aws.PARTITION}:{service}:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:{resource}"
