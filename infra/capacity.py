"""Write capacity: the job, the actions queue, the suspend actuator, and the cache that a product asks."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.cache import CACHE_PORT, Cache, cache_network, network_interfaces, private_subnets
from infra.dashboard import add_capacity, dashboard
from infra.deployment import Capability, Deployment, package
from infra.flink_application import FlinkApplication, alarm_on_malformed, read_stream
from infra.parts import (
    alarm,
    alarm_on_dead_letters,
    allow,
    consume,
    function,
    name_senders,
    name_those_who_put_aside,
    queue_pair,
    send,
)
from infra.rules_stream import RulesStream
from infra.shared import SharedStack


class CapacityStack(cdk.Stack):
    """From the stream of changes to leases in the cache."""

    def __init__(self, scope: Construct, name: str, deployment: Deployment, shared: SharedStack) -> None:
        super().__init__(scope, name, description="Headroom: write capacity")
        key, action = shared.key, shared.alarm_action
        assert shared.changes is not None  # noqa: S101 - the shared stack has it where a capability reads changes
        actions = queue_pair(self, "Actions", key, fifo=True)
        control = RulesStream(self, "Rules", deployment_name=deployment.name, writers=deployment.rule_writer_role_arns)
        rules = control.stream
        tables = [
            f"arn:{cdk.Aws.PARTITION}:dynamodb:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:table/{table}"
            for table in deployment.tables
        ]
        self.job = FlinkApplication(
            self,
            "Job",
            capability=Capability.CAPACITY,
            deployment=deployment,
            key=key,
            statements=[
                *read_stream(shared.changes, key),
                *read_stream(rules, control.key),
                *send([actions], key),
                *([allow(["dynamodb:DescribeTable"], tables)] if tables else []),
            ],
            ends={
                "headroom.kinesis": {"stream": shared.changes.stream_name, "region": cdk.Aws.REGION},
                "headroom.rules": {"stream": rules.stream_name},
                "headroom.sqs": {"queue_url": actions.queue.queue_url, "region": cdk.Aws.REGION},
            },
            alarm_action=action,
        )
        name_senders(actions.queue, [self.job.role], deployment.operator_role_arns)
        name_those_who_put_aside(actions.dead_letters, [], deployment.operator_role_arns)
        network = cache_network(self, deployment, key)
        cache = Cache(self, deployment, key, network)
        self.actuator = function(
            self,
            "Suspend",
            handler="lambdas.suspend.handler.handler",
            code=lambda_.Code.from_asset(str(package(deployment, "lambdas"))),
            environment={
                "HEADROOM_CACHE_URL": f"rediss://{cache.address}:{CACHE_PORT}",
                "HEADROOM_CACHE_NAME": cache.name,
                "HEADROOM_CACHE_SERVERLESS": "true",
                "HEADROOM_CACHE_IAM_USER": cache.actuator,
            },
            statements=[*consume(actions, key), cache.connect(cache.actuator), *network_interfaces()],
            key=key,
            retention_days=deployment.log_retention_days,
            vpc=network,
            vpc_subnets=private_subnets(deployment),
            security_groups=[cache.clients],
        )
        lambda_.EventSourceMapping(
            self,
            "SuspendTrigger",
            target=self.actuator,
            event_source_arn=actions.queue.queue_arn,
            batch_size=10,
            report_batch_item_failures=True,
        )
        alarm_on_dead_letters(self, "ActionsUnhandled", actions, action)
        age = actions.queue.metric_approximate_age_of_oldest_message(
            period=cdk.Duration.minutes(1), statistic="Maximum"
        )
        alarm(self, "ActionsWaiting", age, above=60, periods=3, what="Suspensions wait to be applied.", action=action)
        lag = shared.changes.metric_get_records_iterator_age_milliseconds(
            period=cdk.Duration.minutes(1), statistic="Maximum"
        )
        alarm(self, "ChangesLag", lag, above=60_000, periods=3, what="Changes are read late.", action=action)
        errors = self.actuator.metric_errors(period=cdk.Duration.minutes(1))
        # Three tries of the same message, for there may be no other: each comes a visibility timeout after the last.
        what = "The actuator fails."
        alarm(self, "SuspendFailing", errors, above=0, periods=15, of_these=3, what=what, action=action)
        refused = self.job.growth("rules_refused")
        alarm(self, "RulesRefused", refused, above=0, what="Rules with mistakes were sent.", action=action)
        alarm_on_malformed(self, self.job, action)
        for table in deployment.tables:
            # The largest writes are those that are missing then; nothing else tells of them.
            missing = cloudwatch.Metric(
                namespace="AWS/DynamoDB",
                metric_name="FailedToReplicateRecordCount",
                dimensions_map={"TableName": table, "DelegatedOperation": "KinesisDataStreamsReplication"},
                statistic="Sum",
                period=cdk.Duration.minutes(5),
            )
            alarm(
                self,
                f"ChangesMissing-{table}",
                missing,
                above=0,
                what="Changes did not reach the stream, which counts them as nothing.",
                action=action,
            )
        shown = dashboard(self, name, job=self.job, stream=shared.changes, queues={"actions": actions})
        add_capacity(shown, self.job)
        cdk.CfnOutput(self, "RulesStream", value=rules.stream_name)
        cdk.CfnOutput(self, "CacheAddress", value=f"{cache.address}:{CACHE_PORT}")
        cdk.CfnOutput(self, "CacheClientsGroup", value=cache.clients.security_group_id)
        cdk.CfnOutput(self, "CacheReaderUser", value=cache.reader)
