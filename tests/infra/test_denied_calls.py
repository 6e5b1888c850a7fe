"""Calls that no role may make, evaluated with all that could speak for them: tags, templates, ways to the key."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.templates import ACCOUNT, REGION
from tests.infra.conftest import Synthesized
from tests.infra.iam import is_allowed, is_denied, listed
from tests.infra.test_policies import FROM_TEMPLATE, GROUP, INSTANCE, LAUNCH, TAGGED_GROUP, arn_of

ROLE = f"arn:aws:iam::{ACCOUNT}:role/administrator"
ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:any"
GROUP_OF_LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:any"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:any"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/conversations"
SECURITY_GROUP = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-0123456789abcdef0"
SPEAKS_FOR_IT = {
    **FROM_TEMPLATE,
    **LAUNCH,
    **TAGGED_GROUP,
    "aws:SecureTransport": "true",
    "kms:ViaService": f"kinesis.{REGION}.amazonaws.com",
    "ec2:IsLaunchTemplateResource": "true",
    "iam:PassedToService": "ec2.amazonaws.com",
}
DENIED = {
    ROLE: """iam:AttachRolePolicy iam:CreateAccessKey iam:CreateServiceLinkedRole iam:CreateUser iam:PassRole
        iam:PutRolePolicy iam:UpdateAssumeRolePolicy sts:AssumeRole""",
    INSTANCE: """ec2:TerminateInstances ec2:StopInstances ec2:RebootInstances ec2:CreateTags ec2:DeleteTags
        ec2:ModifyInstanceAttribute ec2:GetPasswordData ec2:AssociateIamInstanceProfile ssm:SendCommand
        ec2:ReplaceIamInstanceProfileAssociation ec2:RequestSpotInstances ec2:CreateFleet""",
    GROUP: """autoscaling:CreateAutoScalingGroup autoscaling:DeleteAutoScalingGroup autoscaling:PutScalingPolicy
        autoscaling:SuspendProcesses autoscaling:SetInstanceProtection autoscaling:CreateOrUpdateTags""",
    SECURITY_GROUP: """ec2:AuthorizeSecurityGroupEgress ec2:AuthorizeSecurityGroupIngress
        ec2:RevokeSecurityGroupIngress ec2:DeleteSecurityGroup""",
    TABLE: """dynamodb:DeleteTable dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:Scan dynamodb:UpdateTable
        dynamodb:ExportTableToPointInTime""",
    FUNCTION: "lambda:AddPermission lambda:InvokeFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration",
    GROUP_OF_LOGS: "logs:DeleteLogGroup logs:GetLogEvents logs:PutRetentionPolicy logs:PutSubscriptionFilter",
    ALARM: "cloudwatch:DeleteAlarms cloudwatch:DisableAlarmActions cloudwatch:PutMetricData sns:Publish",
    "*": """cloudformation:UpdateStack elasticache:ModifyUser events:DisableRule kinesisanalyticsv2:UpdateApplication
        scheduler:DeleteSchedule secretsmanager:GetSecretValue ssm:GetParameter athena:StartQueryExecution""",
}
OF_OURS = {
    ("capacity", "AWS::Kinesis::Stream", "Rules"): """kinesis:PutRecord kinesis:PutRecords kinesis:DeleteStream
        kinesis:StopStreamEncryption kinesis:PutResourcePolicy kinesis:DecreaseStreamRetentionPeriod""",
    ("capacity", "AWS::KMS::Key", "RulesKey"): """kms:GenerateDataKey kms:CreateGrant kms:DisableKey kms:PutKeyPolicy
        kms:ScheduleKeyDeletion""",
    ("capacity", "AWS::SQS::Queue", "Actions9"): """sqs:AddPermission sqs:DeleteQueue sqs:PurgeQueue
        sqs:SetQueueAttributes""",
    ("capacity", "AWS::SQS::Queue", "ActionsDead"): "sqs:ReceiveMessage sqs:SendMessage sqs:StartMessageMoveTask",
    ("capacity", "AWS::ElastiCache::User", "Reader"): "elasticache:Connect elasticache:ModifyUser",
    ("usage", "AWS::S3::Bucket", "Ledger"): """s3:DeleteBucket s3:PutBucketPolicy s3:PutLifecycleConfiguration
        s3:PutEncryptionConfiguration s3:PutBucketVersioning""",
    ("usage", "AWS::S3::Bucket", "AccessLogs"): "s3:DeleteObject s3:PutObject s3:ListBucket",
    ("spot", "AWS::DynamoDB::Table", "Journal"): "dynamodb:DeleteTable dynamodb:UpdateTable dynamodb:DeleteBackup",
    ("spot", "AWS::Kinesis::Stream", "Events"): "kinesis:DeleteStream kinesis:MergeShards kinesis:SplitShard",
    ("spot", "AWS::SQS::Queue", "EventsUndelivered"): "sqs:ReceiveMessage sqs:SendMessage",
}


def denied(templates: Synthesized) -> Iterator[tuple[str, str]]:
    for resource, actions in DENIED.items():
        yield from ((action, resource) for action in actions.split())
    for (stack, kind, beginning), actions in OF_OURS.items():
        resource = arn_of(templates[stack], kind, beginning)
        yield from ((action, resource) for action in actions.split())


@pytest.mark.parametrize("stack", ["shared", "capacity", "usage", "spot"])
def test_no_role_of_a_stack_may_make_a_call_that_none_needs(templates: Synthesized, stack: str) -> None:
    roles: dict[str, list[dict[str, Any]]] = {}
    for policy in templates[stack].policies():
        if policy.kind == "identity":
            roles.setdefault(policy.owner, []).extend(policy.statements)
    assert roles
    calls = list(denied(templates))
    assert len(calls) > 90
    allowed = [
        (role, action, resource)
        for role, statements in roles.items()
        for action, resource in calls
        if is_allowed(statements, action, resource, SPEAKS_FOR_IT)
    ]
    assert allowed == []


@pytest.mark.parametrize("stack", ["capacity", "spot"])
def test_no_queue_takes_a_message_from_another_account(templates: Synthesized, stack: str) -> None:
    queues = templates[stack].of_type("AWS::SQS::Queue")
    policies = [each for each in templates[stack].policies() if each.owner in queues]
    assert len(policies) == len(queues)
    for policy in policies:
        for foreigner in ("arn:aws:iam::999999999999:role/operator", "arn:aws:iam::999999999999:root"):
            by = {"aws:SecureTransport": "true", "aws:PrincipalIsAWSService": "false", "aws:PrincipalArn": foreigner}
            queue = listed(policy.statements[0]["Resource"])[0]
            assert is_denied(policy.statements, foreigner, "sqs:SendMessage", queue, by), policy.owner
