"""Parts that several stacks are made of: encrypted queues with their policies, functions with a role of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# At least five, so that one throttled or timed out batch does not lose its messages.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
MOST_RECEIVES: Final = 5
FUNCTION_TIMEOUT_S: Final = 30
_VISIBILITY_TIMES_TIMEOUT: Final = 6
_KEPT_IN_DEAD_LETTERS: Final = cdk.Duration.days(14)


def retention(days: int) -> logs.RetentionDays:
    """The shortest retention that CloudWatch knows and that is at least this long."""
    known = sorted((each for each in logs.RetentionDays if each.name != "INFINITE"), key=lambda each: _days(each.name))
    return next((each for each in known if _days(each.name) >= days), known[-1])


_UNIT_DAYS: Final = {"DAY": 1, "DAYS": 1, "WEEK": 7, "WEEKS": 7, "MONTH": 30, "MONTHS": 30, "YEAR": 365, "YEARS": 365}
_NUMBERS: Final = dict(
    zip(
        ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "THIRTEEN", "EIGHTEEN"],
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 18),
        strict=True,
    )
)


def _days(name: str) -> int:
    number, _, unit = name.rpartition("_")
    return _NUMBERS.get(number, 1) * _UNIT_DAYS[unit]


def allow(
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, object] | None = None,
    sid: str | None = None,
) -> iam.PolicyStatement:
    """A statement that allows calls."""
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(resources), conditions=conditions or {})


def role(
    scope: Construct, name: str, service: str, statements: Sequence[iam.PolicyStatement], **conditions: object
) -> iam.Role:
    """A role that one service of this account assumes, with one policy that says all it may do."""
    principal: iam.IPrincipal = iam.ServicePrincipal(
        service, conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}, **conditions}
    )
    if service == "lambda.amazonaws.com":
        principal = iam.ServicePrincipal(service)  # Lambda gives no source when it assumes a function's role
    made = iam.Role(scope, f"{name}Role", assumed_by=principal)
    iam.Policy(made, "Policy", statements=list(statements), roles=[made])
    return made


def depend_on_policy(resource: cdk.CfnResource, made: iam.IRole) -> None:
    """Make a resource wait for what its role may do; that it waits for the role follows from its naming it."""
    policy = made.node.find_child("Policy").node.default_child
    resource.add_override("DependsOn", [cdk.Stack.of(resource).get_logical_id(policy)])


def use_key(key: kms.IKey, actions: Sequence[str], service: str) -> iam.PolicyStatement:
    """Use of the key, only by way of a service and not by oneself."""
    via = f"{service}.{cdk.Aws.REGION}.amazonaws.com"
    return allow(actions, [key.key_arn], {"StringEquals": {"kms:ViaService": via}})


@dataclass(frozen=True)
class QueuePair:
    """A queue, and where its messages go that nobody could handle."""

    queue: sqs.Queue
    dead_letters: sqs.Queue


def queue_pair(
    scope: Construct, name: str, key: kms.IKey, *, fifo: bool, function_timeout_s: int = FUNCTION_TIMEOUT_S
) -> QueuePair:
    """An encrypted queue with a dead-letter queue; both refuse whatever does not come by TLS."""
    dead_letters = sqs.Queue(
        scope,
        f"{name}DeadLetters",
        fifo=True if fifo else None,
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=key,
        enforce_ssl=True,
        retention_period=_KEPT_IN_DEAD_LETTERS,
        redrive_allow_policy=None,
    )
    queue = sqs.Queue(
        scope,
        name,
        fifo=True if fifo else None,
        deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP if fifo else None,
        fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID if fifo else None,
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=key,
        enforce_ssl=True,
        visibility_timeout=cdk.Duration.seconds(_VISIBILITY_TIMES_TIMEOUT * function_timeout_s),
        retention_period=cdk.Duration.days(4),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MOST_RECEIVES),
    )
    cdk.CfnOutput(scope, f"{name}DeadLettersUrl", value=dead_letters.queue_url)
    return QueuePair(queue, dead_letters)


def name_senders(queue: sqs.Queue, senders: Sequence[iam.IRole], operators: Sequence[str]) -> None:
    """Let the queue take messages from these roles and from nobody else, whatever their own policies say.

    Args:
        queue: The queue.
        senders: Roles of jobs and functions.
        operators: Roles of people who may put messages back that nobody could handle, which is sending too.
    """
    arns = [*(each.role_arn for each in senders), *operators]
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="NobodyElseSends",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnNotEquals": {"aws:PrincipalArn": arns}},
        )
    )
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="SendersByName",
            principals=[iam.ArnPrincipal(arn) for arn in arns],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
        )
    )


def name_those_who_put_aside(
    dead_letters: sqs.Queue, senders: Sequence[iam.IRole], operators: Sequence[str] = ()
) -> None:
    """Let a dead-letter queue take messages from these roles and from AWS's own services alone.

    SQS moves what was received too often by itself, and asks no policy; EventBridge asks the one that names its rules.
    A message put here by somebody else would be redriven by an operator, who is believed.

    Args:
        dead_letters: The queue.
        senders: Roles of functions that put a message aside themselves, with the reason.
        operators: Roles of people, as for `name_senders`.
    """
    arns = [*(each.role_arn for each in senders), *operators]
    # Without the key nobody is a service, and nobody unknown is let in by any other statement.
    conditions: dict[str, object] = {"Bool": {"aws:PrincipalIsAWSService": "false"}}
    if arns:
        conditions["ArnNotEquals"] = {"aws:PrincipalArn": arns}
    dead_letters.add_to_resource_policy(
        iam.PolicyStatement(
            sid="NobodyElsePutsAside",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["sqs:SendMessage"],
            resources=[dead_letters.queue_arn],
            conditions=conditions,
        )
    )


def consume(pair: QueuePair, key: kms.IKey) -> list[iam.PolicyStatement]:
    """What Lambda's trigger needs of the function's role to take messages from a queue."""
    actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    return [allow(actions, [pair.queue.queue_arn]), use_key(key, ["kms:Decrypt"], "sqs")]


def send(pairs: Sequence[QueuePair], key: kms.IKey) -> list[iam.PolicyStatement]:
    """What sending to queues takes."""
    arns = [pair.queue.queue_arn for pair in pairs]
    return [
        allow(["sqs:SendMessage", "sqs:GetQueueAttributes"], arns),
        use_key(key, ["kms:Decrypt", "kms:GenerateDataKey"], "sqs"),
    ]


def refuse(pair: QueuePair) -> list[iam.PolicyStatement]:
    """What putting a message that can never succeed into its dead-letter queue takes, besides consuming it."""
    return [allow(["sqs:SendMessage"], [pair.dead_letters.queue_arn])]


def alarm(
    scope: Construct,
    name: str,
    metric: cloudwatch.IMetric,
    *,
    above: float,
    what: str,
    action: cloudwatch.IAlarmAction,
    periods: int = 1,
    of_these: int | None = None,
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
) -> cloudwatch.Alarm:
    """An alarm at more than a threshold in all of the last periods, or in `of_these`.

    `what` names the section of docs/operations.md that says what to do.
    """
    made = cloudwatch.Alarm(
        scope,
        name,
        metric=metric,
        threshold=above,
        evaluation_periods=periods,
        datapoints_to_alarm=of_these,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        treat_missing_data=missing,
        alarm_description=_description(what, name),
    )
    made.add_alarm_action(action)
    made.add_ok_action(action)
    return made


def alarm_on_silence(
    scope: Construct,
    name: str,
    metric: cloudwatch.IMetric,
    *,
    what: str,
    action: cloudwatch.IAlarmAction,
    periods: int = 1,
) -> None:
    """An alarm where nothing happens, or nothing is told any more."""
    made = cloudwatch.Alarm(
        scope,
        name,
        metric=metric,
        threshold=0,
        evaluation_periods=periods,
        comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        alarm_description=_description(what, name),
    )
    made.add_alarm_action(action)
    made.add_ok_action(action)


def _description(what: str, name: str) -> str:
    return f"{what} What to do: docs/operations.md, {name}"


def alarm_on_dead_letters(scope: Construct, name: str, pair: QueuePair, action: cloudwatch.IAlarmAction) -> None:
    """Tell of the first message that nobody could handle: depth, for age stops counting after three receives."""
    metric = pair.dead_letters.metric_approximate_number_of_messages_visible(
        period=cdk.Duration.minutes(1), statistic="Maximum"
    )
    alarm(scope, name, metric, above=0, what="Messages that nobody could handle wait in a queue.", action=action)


def function(
    scope: Construct,
    name: str,
    *,
    handler: str,
    code: lambda_.Code,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    key: kms.IKey,
    retention_days: int,
    timeout_s: int = FUNCTION_TIMEOUT_S,
    **more: object,
) -> lambda_.Function:
    """A function with a role and a log group of its own."""
    log_group = logs.LogGroup(
        scope,
        f"{name}Logs",
        encryption_key=key,
        retention=retention(retention_days),
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    cdk.CfnOutput(scope, f"{name}LogGroup", value=log_group.log_group_name)
    own_logs = allow(["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn])
    own_role = role(scope, name, "lambda.amazonaws.com", [*statements, own_logs])
    made = lambda_.Function(
        scope,
        name,
        runtime=lambda_.Runtime.PYTHON_3_12,
        architecture=lambda_.Architecture.ARM_64,
        handler=handler,
        code=code,
        environment={"POWERTOOLS_METRICS_NAMESPACE": "Headroom", **environment},
        environment_encryption=key,
        role=own_role,
        log_group=log_group,
        timeout=cdk.Duration.seconds(timeout_s),
        memory_size=512,
        **more,
    )
    depend_on_policy(made.node.default_child, own_role)
    return made
