"""Spot capacity: events into a stream, the job, the queues between the actuators, and the actuators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.dashboard import add_spot, dashboard
from infra.deployment import Capability, Deployment, package
from infra.fleet_policies import change_groups, end_own_instances, keep_tags, launch, look
from infra.flink_application import FlinkApplication, read_stream
from infra.parts import (
    QueuePair,
    alarm,
    alarm_on_dead_letters,
    alarm_on_silence,
    allow,
    consume,
    function,
    name_senders,
    name_those_who_put_aside,
    queue_pair,
    refuse,
    role,
    send,
    use_key,
)
from infra.shared import SharedStack, encrypted_stream

# One sweep describes all groups in pages; source of the time a swap may take: jobs' and lambdas' settings.
_FUNCTION_TIMEOUT_S: Final = 60
_SCAN_TIMEOUT_S: Final = 300
# After how many times that a function is not called on its schedule somebody is told.
_MISSED_RUNS: Final = 3
# The only place where a function may write, and it lives as long as the function.
_PRICE_CACHE: Final = "/tmp/headroom-on-demand-prices.json"  # noqa: S108 - of Lambda's own
_SWAP_ACTIONS: Final = (
    "AttachInstances",
    "DetachInstances",
    "SetDesiredCapacity",
    "TerminateInstanceInAutoScalingGroup",
    "UpdateAutoScalingGroup",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Events that go into the stream.

    `most_age_s` is how long one is tried to be delivered: of a warning two minutes ahead, the third minute is too late.
    """

    name: str
    source: str
    detail_types: tuple[str, ...]
    most_age_s: int = 3_600
    detail: dict[str, list[str]] | None = None


RULES: Final = (
    Rule("Interruption", "aws.ec2", ("EC2 Spot Instance Interruption Warning",), most_age_s=120),
    Rule("Rebalance", "aws.ec2", ("EC2 Instance Rebalance Recommendation",), most_age_s=600),
    Rule(
        "InstanceState",
        "aws.ec2",
        ("EC2 Instance State-change Notification", "EC2 Spot Instance Request Fulfillment"),
    ),
    Rule(
        "Group",
        "aws.autoscaling",
        (
            "EC2 Instance Launch Successful",
            "EC2 Instance Launch Unsuccessful",
            "EC2 Instance Terminate Successful",
            "EC2 Instance Terminate Unsuccessful",
            "EC2 Instance-launch Lifecycle Action",
            "EC2 Instance-terminate Lifecycle Action",
        ),
    ),
    Rule(
        "Health",
        "aws.health",
        ("AWS Health Event",),
        detail={"service": ["EC2"], "eventTypeCategory": ["scheduledChange"]},
    ),
)


class SpotStack(cdk.Stack):
    """From EC2's events to safely swapped instances."""

    def __init__(self, scope: Construct, name: str, deployment: Deployment, shared: SharedStack) -> None:
        super().__init__(scope, name, description="Headroom: Spot capacity")
        self._deployment, self._key, self._action = deployment, shared.key, shared.alarm_action
        self.events = encrypted_stream(self, "Events", self._key)
        self._add_rules()
        self.actions = self._queue("SpotActions", fifo=True)
        self.creator = self._queue("SpotCreator")
        self.swapper = self._queue("InstanceSwapper")
        self.job = FlinkApplication(
            self,
            "Job",
            capability=Capability.SPOT,
            deployment=deployment,
            key=self._key,
            statements=[*read_stream(self.events, self._key), *send([self.actions], self._key)],
            ends={
                "headroom.kinesis": {"stream": self.events.stream_name, "region": cdk.Aws.REGION},
                "headroom.sqs": {"queue_url": self.actions.queue.queue_url, "region": cdk.Aws.REGION},
            },
            alarm_action=self._action,
        )
        self.journal = self._journal()
        actuators = self._add_actuators()
        self._add_alarms()
        queues = {"actions": self.actions, "spot creator": self.creator, "instance swapper": self.swapper}
        shown = dashboard(self, name, job=self.job, stream=self.events, queues=queues)
        add_spot(shown, self.job, actuators)

    def _add_alarms(self) -> None:
        lag = self.events.metric_get_records_iterator_age_milliseconds(
            period=cdk.Duration.minutes(1), statistic="Maximum"
        )
        alarm(self, "EventsLag", lag, above=30_000, what="Events of EC2 are read late.", action=self._action)
        age = self.actions.queue.metric_approximate_age_of_oldest_message(
            period=cdk.Duration.minutes(1), statistic="Maximum"
        )
        what = "Orders to replace an instance wait."
        alarm(self, "SpotActionsWaiting", age, above=30, what=what, action=self._action)
        failed = cloudwatch.Metric(
            namespace="Headroom",
            metric_name="OrphansFailed",
            dimensions_map={"service": "reap-orphans"},
            statistic="Maximum",
            period=cdk.Duration.minutes(10),
        )
        what = "Instances that nobody owns can be neither given back nor ended."
        alarm(self, "OrphansFailing", failed, above=0, periods=3, what=what, action=self._action)

    def _queue(self, name: str, *, fifo: bool = False) -> QueuePair:
        pair = queue_pair(self, name, self._key, fifo=fifo, function_timeout_s=_FUNCTION_TIMEOUT_S)
        alarm_on_dead_letters(self, f"{name}Unhandled", pair, self._action)
        return pair

    def _add_rules(self) -> None:
        undelivered = sqs.Queue(
            self,
            "EventsUndelivered",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        cdk.CfnOutput(self, "EventsUndeliveredUrl", value=undelivered.queue_url)
        name_those_who_put_aside(undelivered, [])
        rule_arns = f"arn:{cdk.Aws.PARTITION}:events:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:rule/{self.stack_name}-*"
        undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                sid="RulesOfThisStack",
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[undelivered.queue_arn],
                conditions={
                    "ArnLike": {"aws:SourceArn": rule_arns},
                    "StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID},
                },
            )
        )
        delivery = role(
            self,
            "EventDelivery",
            "events.amazonaws.com",
            [
                allow(["kinesis:PutRecord", "kinesis:PutRecords"], [self.events.stream_arn]),
                use_key(self._key, ["kms:GenerateDataKey"], "kinesis"),
            ],
            ArnLike={"aws:SourceArn": rule_arns},
        )
        for each in RULES:
            pattern: dict[str, object] = {"source": [each.source], "detail-type": list(each.detail_types)}
            events.CfnRule(
                self,
                f"{each.name}Rule",
                name=f"{self.stack_name}-{each.name}",
                event_pattern=pattern | ({"detail": each.detail} if each.detail else {}),
                targets=[
                    {
                        "id": "stream",
                        "arn": self.events.stream_arn,
                        "roleArn": delivery.role_arn,
                        "kinesisParameters": {"partitionKeyPath": "$.id"},
                        "deadLetterConfig": {"arn": undelivered.queue_arn},
                        "retryPolicy": {"maximumEventAgeInSeconds": each.most_age_s, "maximumRetryAttempts": 185},
                    }
                ],
            )
        waiting = undelivered.metric_approximate_number_of_messages_visible(
            period=cdk.Duration.minutes(1), statistic="Maximum"
        )
        what = "Events of EC2 could not be delivered."
        alarm(self, "EventsLost", waiting, above=0, what=what, action=self._action)

    def _journal(self) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            "Journal",
            partition_key=dynamodb.Attribute(name="key", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self._key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def _add_actuators(self) -> list[lambda_.Function]:
        tag, key = self._deployment.group_tag, self._key
        read = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"]
        write = ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        use_journal = use_key(key, ["kms:Decrypt", "kms:GenerateDataKey"], "dynamodb")
        reads_journal = [allow(read, [self.journal.table_arn]), use_journal]
        keeps_journal = [allow([*read, *write], [self.journal.table_arn]), use_journal]
        tells = [
            allow(["kinesis:PutRecord", "kinesis:PutRecords"], [self.events.stream_arn]),
            use_key(key, ["kms:GenerateDataKey"], "kinesis"),
        ]
        # The saga can be taken up at any of its steps by whoever meets it, so those that drive it have the same rights.
        launches = launch(tag, self._deployment.instance_role_arns)
        scan = self._actuator(
            "scan_candidates",
            [*look(prices=True), *reads_journal, *send([self.creator, self.swapper], key), *tells],
            timeout_s=_SCAN_TIMEOUT_S,
        )
        create = self._actuator(
            "create_spot",
            [
                *look(prices=True),
                *launches,
                end_own_instances(),
                *keeps_journal,
                *consume(self.creator, key),
                *refuse(self.creator),
                *send([self.swapper], key),
                *tells,
            ],
            takes=self.creator,
        )
        swap = self._actuator(
            "swap_instance",
            [
                *look(prices=False),
                *launches,
                change_groups(tag, _SWAP_ACTIONS),
                end_own_instances(),
                *keeps_journal,
                *consume(self.swapper, key),
                *refuse(self.swapper),
                *send([self.swapper], key),
                *tells,
            ],
            takes=self.swapper,
        )
        replace = self._actuator(
            "replace_interrupted",
            [
                *look(prices=True),
                *launches,
                change_groups(tag, _SWAP_ACTIONS),
                end_own_instances(),
                *keeps_journal,
                *consume(self.actions, key),
                *refuse(self.actions),
                *send([self.swapper], key),
                *tells,
            ],
            takes=self.actions,
            in_a_hurry=True,
        )
        reap = self._actuator(
            "reap_orphans",
            [
                *look(prices=True),
                change_groups(tag, _SWAP_ACTIONS),
                end_own_instances(),
                *keeps_journal,
                *send([self.swapper], key),
            ],
            timeout_s=_SCAN_TIMEOUT_S,
        )
        operators = self._deployment.operator_role_arns
        name_senders(self.actions.queue, [self.job.role], operators)
        name_senders(self.creator.queue, [_role(scan)], operators)
        wakers = [_role(each) for each in (scan, create, swap, replace, reap)]
        name_senders(self.swapper.queue, wakers, operators)
        for pair, refuses in ((self.actions, replace), (self.creator, create), (self.swapper, swap)):
            name_those_who_put_aside(pair.dead_letters, [_role(refuses)], operators)
        self._run_every("ScanCandidates", scan, minutes=5)
        self._run_every("ReapOrphans", reap, minutes=10)
        return [scan, create, swap, replace, reap]

    def _actuator(
        self,
        name: str,
        statements: Sequence[iam.PolicyStatement],
        *,
        takes: QueuePair | None = None,
        in_a_hurry: bool = False,
        timeout_s: int = _FUNCTION_TIMEOUT_S,
    ) -> lambda_.Function:
        title = "".join(part.capitalize() for part in name.split("_"))
        made = function(
            self,
            title,
            handler=f"lambdas.{name}.handler",
            code=lambda_.Code.from_asset(str(package(self._deployment, "lambdas"))),
            environment={
                "HEADROOM_ACCOUNT": cdk.Aws.ACCOUNT_ID,
                "HEADROOM_MANAGED_TAG": self._deployment.group_tag,
                "HEADROOM_DRY_RUN": "true" if self._deployment.dry_run else "false",
                "HEADROOM_SWAP_TABLE": self.journal.table_name,
                "HEADROOM_EVENTS_STREAM": self.events.stream_name,
                "HEADROOM_SPOT_CREATOR_QUEUE": self.creator.queue.queue_url,
                "HEADROOM_INSTANCE_SWAPPER_QUEUE": self.swapper.queue.queue_url,
                "HEADROOM_PRICE_CACHE": _PRICE_CACHE,
                "HEADROOM_COMPUTE_PLAN_PERCENT": str(self._deployment.compute_plan_percent),
                **({"HEADROOM_DEAD_LETTER_QUEUE": takes.dead_letters.queue_url} if takes else {}),
                **({"HEADROOM_RETRY_QUEUE": takes.queue.queue_url} if takes and in_a_hurry else {}),
            },
            statements=[*statements, *keep_tags()],
            key=self._key,
            retention_days=self._deployment.log_retention_days,
            timeout_s=timeout_s,
        )
        if takes:
            lambda_.EventSourceMapping(
                self,
                f"{title}Trigger",
                target=made,
                event_source_arn=takes.queue.queue_arn,
                batch_size=10,
                report_batch_item_failures=True,
            )
            # What goes back to its queue is no error of the function.
            failed = cloudwatch.Metric(
                namespace="Headroom",
                metric_name="CallsFailed",
                dimensions_map={"service": name.replace("_", "-")},
                statistic="Sum",
                period=cdk.Duration.minutes(5),
            )
            what = "Calls of an actuator to AWS fail."
            alarm(self, f"{title}CallsFailing", failed, above=0, periods=3, what=what, action=self._action)
        errors = made.metric_errors(period=cdk.Duration.minutes(5))
        alarm(self, f"{title}Failing", errors, above=0, periods=3, what="An actuator fails.", action=self._action)
        return made

    def _run_every(self, name: str, target: lambda_.Function, *, minutes: int) -> None:
        """Call a function on a schedule, never two at once: what is missed is not made up for, but tells of itself."""
        target.node.default_child.add_property_override("ReservedConcurrentExecutions", 1)
        # The scheduler hands the call to Lambda's own queue, which would try twice more and keep it for six hours.
        target.configure_async_invoke(retry_attempts=0, max_event_age=cdk.Duration.minutes(minutes))
        caller = role(
            self,
            f"{name}Schedule",
            "scheduler.amazonaws.com",
            [allow(["lambda:InvokeFunction"], [target.function_arn])],
        )
        scheduler.CfnSchedule(
            self,
            f"{name}Every",
            flexible_time_window={"mode": "OFF"},
            schedule_expression=f"rate({minutes} minutes)",
            kms_key_arn=None,
            target={
                "arn": target.function_arn,
                "roleArn": caller.role_arn,
                "retryPolicy": {"maximumRetryAttempts": 0, "maximumEventAgeInSeconds": 60 * minutes},
            },
        )
        calls = target.metric_invocations(period=cdk.Duration.minutes(_MISSED_RUNS * minutes))
        alarm_on_silence(self, f"{name}Silent", calls, what="It is not called any more.", action=self._action)


def _role(made: lambda_.Function) -> iam.IRole:
    assert made.role is not None  # noqa: S101 - `function` gives each one of its own
    return made.role
