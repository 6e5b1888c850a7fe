"""Empties the default security group of a network that was made here, which nothing uses."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import custom_resources
from constructs import Construct

from infra.deployment import Deployment
from infra.parts import allow, retention, role


def close_default_group(scope: Construct, network: ec2.Vpc, deployment: Deployment, key: kms.IKey) -> None:
    """Take away both rules that AWS puts into it, so that what is put there by mistake reaches nothing.

    By calls that CDK makes at deployment, for CloudFormation cannot change that group; with a role and a log group of
    their own, which the function of CDK's flag for this (`restrictDefaultSecurityGroup`) has not.
    """
    group = network.vpc_default_security_group
    log_group = logs.LogGroup(
        scope, "DefaultGroupLogs", encryption_key=key, retention=retention(deployment.log_retention_days)
    )
    group_arn = f"arn:{cdk.Aws.PARTITION}:ec2:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:security-group/{group}"
    own_role = role(
        scope,
        "DefaultGroup",
        "lambda.amazonaws.com",
        [
            allow(["ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"], [group_arn]),
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn]),
        ],
    )
    # Source: https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html
    rules = {
        "Ingress": {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "UserId": cdk.Aws.ACCOUNT_ID}]},
        "Egress": {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    }
    for way, rule in rules.items():
        revoked = custom_resources.AwsCustomResource(
            scope,
            f"No{way}OfDefaultGroup",
            role=own_role,
            log_group=log_group,
            install_latest_aws_sdk=False,
            on_create=custom_resources.AwsSdkCall(
                service="EC2",
                action=f"revokeSecurityGroup{way}",
                parameters={"GroupId": group, "IpPermissions": [rule]},
                physical_resource_id=custom_resources.PhysicalResourceId.of(f"{group}-{way}"),
                ignore_error_codes_matching="InvalidPermission.NotFound",
            ),
        )
        revoked.node.add_dependency(own_role.node.find_child("Policy"))
