"""What several capabilities use: the key, the alarm topic, and the stream of changes."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import custom_resources
from constructs import Construct

from infra.deployment import Deployment
from infra.parts import allow, retention, role

_ACCOUNT_ONLY = {"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}


class SharedStack(cdk.Stack):
    """The key, the alarm topic, and the stream of changes where a capability reads it."""

    def __init__(self, scope: Construct, name: str, deployment: Deployment) -> None:
        super().__init__(scope, name, description="Headroom: key, alarm topic, stream of changes")
        self.key = _key(self, deployment.name)
        topic = sns.Topic(self, "Alarms", master_key=self.key, enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com", conditions=_ACCOUNT_ONLY)],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
            )
        )
        if deployment.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(deployment.alarm_email))
        self.alarm_action = actions.SnsAction(topic)
        self.changes: kinesis.Stream | None = None
        if deployment.reads_changes:
            self.changes = encrypted_stream(self, "Changes", self.key)
            if deployment.tables:
                _send_changes(self, deployment, self.changes, self.key)


def encrypted_stream(scope: Construct, name: str, key: kms.IKey, shards: int | None = None) -> kinesis.Stream:
    """A stream that keeps a day; it grows by itself unless the number of its shards is given."""
    return kinesis.Stream(
        scope,
        name,
        stream_mode=kinesis.StreamMode.PROVISIONED if shards else kinesis.StreamMode.ON_DEMAND,
        shard_count=shards,
        encryption=kinesis.StreamEncryption.KMS,
        encryption_key=key,
        retention_period=cdk.Duration.hours(24),
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )


def _key(scope: Construct, name: str) -> kms.Key:
    key = kms.Key(
        scope,
        "Key",
        alias=f"alias/{name}",
        enable_key_rotation=True,
        description="Headroom: streams, queues, logs, ledger, journal, cache",
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    # Services that write into something encrypted on their own behalf need the key's own word: without it they fail
    # silently, for nobody sees what they could not deliver.
    for service, sid in (("events", "EventBridgeIntoDeadLetters"), ("cloudwatch", "AlarmsIntoTopic")):
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=_ACCOUNT_ONLY)],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],  # in a key's policy: this key
            )
        )
    # CloudFormation names log groups after their stacks, and those after the deployment.
    log_groups = f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:log-group:{name}-*"
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="LogGroups",
            principals=[iam.ServicePrincipal(f"logs.{cdk.Aws.REGION}.amazonaws.com")],
            actions=[
                "kms:Decrypt",
                "kms:Encrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
                "kms:GenerateDataKey",
                "kms:DescribeKey",
            ],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
        )
    )
    return key


def _send_changes(scope: Construct, deployment: Deployment, stream: kinesis.Stream, key: kms.IKey) -> None:
    """Have tables that are there already send their changes; CloudFormation can do that only for tables of its own."""
    account = f"{cdk.Aws.PARTITION}:dynamodb:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}"
    tables = deployment.tables
    log_group = logs.LogGroup(
        scope, "ChangesOfTablesLogs", encryption_key=key, retention=retention(deployment.log_retention_days)
    )
    replication = "kinesisreplication.dynamodb.amazonaws.com"
    # One role, for all custom resources of a stack are served by one function.
    own_role = role(
        scope,
        "ChangesOfTables",
        "lambda.amazonaws.com",
        [
            allow(
                ["dynamodb:EnableKinesisStreamingDestination", "dynamodb:DisableKinesisStreamingDestination"],
                [f"arn:{account}:table/{table}" for table in tables],
            ),
            # Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds_iam.html
            allow(["kinesis:DescribeStream", "kinesis:PutRecord", "kinesis:PutRecords"], [stream.stream_arn]),
            allow(
                ["iam:CreateServiceLinkedRole"],
                [f"arn:{cdk.Aws.PARTITION}:iam::{cdk.Aws.ACCOUNT_ID}:role/aws-service-role/{replication}/*"],
                {"StringEquals": {"iam:AWSServiceName": replication}},
            ),
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn]),
        ],
    )
    for table in tables:
        parameters = {"TableName": table, "StreamArn": stream.stream_arn}
        precision = {"EnableKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "MICROSECOND"}}
        made = custom_resources.AwsCustomResource(
            scope,
            f"ChangesOf{table}",
            role=own_role,
            log_group=log_group,
            install_latest_aws_sdk=False,
            on_create=custom_resources.AwsSdkCall(
                service="DynamoDB",
                action="enableKinesisStreamingDestination",
                parameters=parameters | precision,
                physical_resource_id=custom_resources.PhysicalResourceId.of(f"changes-of-{table}"),
            ),
            on_delete=custom_resources.AwsSdkCall(
                service="DynamoDB",
                action="disableKinesisStreamingDestination",
                parameters=parameters,
                ignore_error_codes_matching="ResourceNotFoundException|ValidationException",
            ),
        )
        made.node.add_dependency(own_role.node.find_child("Policy"))
