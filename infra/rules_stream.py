"""The control stream of rules, and the key that says who may write to it."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.shared import encrypted_stream


class RulesStream(Construct):
    """A stream that takes records from the named roles and from nobody else, whatever their own policies say.

    Rules decide who is suspended, and a stream by itself takes records from whoever has `kinesis:PutRecord` on
    everything. Writing to an encrypted stream takes `kms:GenerateDataKey` on its key too, which Kinesis asks for in the
    writer's name and anew for every set of credentials, and what a key's policy denies no other policy gives.

    Sources: https://docs.aws.amazon.com/streams/latest/dev/permissions-user-key-KMS.html,
    https://docs.aws.amazon.com/streams/latest/dev/costs-performance.html

    Args:
        scope: The stack.
        name: The construct's name.
        deployment_name: Begins the name of the key.
        writers: ARNs of the roles; without any, nobody writes.
    """

    def __init__(self, scope: Construct, name: str, *, deployment_name: str, writers: Sequence[str]) -> None:
        super().__init__(scope, name)
        self.key = kms.Key(
            self,
            "Key",
            alias=f"alias/{deployment_name}-rules",
            enable_key_rotation=True,
            description="Headroom: the control stream of rules; its policy says who may write there",
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="NobodyElseWrites",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                resources=["*"],  # in a key's policy: this key
                conditions={"ArnNotEquals": {"aws:PrincipalArn": list(writers)}} if writers else None,
            )
        )
        if writers:
            self.key.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="WritersByName",
                    principals=[iam.ArnPrincipal(arn) for arn in writers],
                    actions=["kms:GenerateDataKey"],
                    resources=["*"],
                    conditions={"StringEquals": {"kms:ViaService": f"kinesis.{cdk.Aws.REGION}.amazonaws.com"}},
                )
            )
        # One shard: rules are few, and the order of their versions matters.
        self.stream: kinesis.Stream = encrypted_stream(self, "Stream", self.key, shards=1)
