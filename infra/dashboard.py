"""A dashboard for each capability: what goes in, what comes out, how late, and what stands in the way."""

from collections.abc import Mapping, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from connectors.published_metrics import SOURCE_COUNTERS
from infra.flink_application import FlinkApplication
from infra.parts import QueuePair
from jobs.metric_names import (
    ACTION_DELAY,
    DECIDED,
    LAG,
    OUTBOX,
    READ,
    RULES,
    SOURCE_LAG,
    SPOT_ACTUATORS,
    SPOT_DECIDED,
    SPOT_READ,
    SUSPEND,
)

_WIDTH: Final = 12
_MINUTE: Final = cdk.Duration.minutes(1)
# What says that something is wrong stands apart from what says that work is done.
_SPOT_GRAPHS: Final = {
    "What scans found": ("Scan",),
    "Calls of the actuators": ("Calls",),
    "How swaps ended": ("Swaps", "Markets"),
    "Instances without an owner": ("Orphans",),
    "What the actuators could not do": ("LaunchesRefused", "InstancesNotManaged", "ActionsSkipped", "Messages"),
}


def counters_of(application: str, names: Sequence[str], statistic: str = "Sum") -> list[cloudwatch.IMetric]:
    """Metrics that a job publishes itself, added up over subtasks whatever dimensions the service gives them."""
    return _found(f'{{AWS/KinesisAnalytics}} Application="{application}"', names, statistic)


def _found(where: str, names: Sequence[str], statistic: str = "Sum") -> list[cloudwatch.IMetric]:
    added_up = "MAX" if statistic == "Maximum" else "SUM"
    return [
        cloudwatch.MathExpression(
            expression=f"{added_up}(SEARCH('{where} MetricName=\"{name}\"', '{statistic}', 60))",
            label=name,
            period=_MINUTE,
        )
        for name in names
    ]


def dashboard(
    scope: Construct, name: str, *, job: FlinkApplication, stream: kinesis.IStream, queues: Mapping[str, QueuePair]
) -> cloudwatch.Dashboard:
    """What every capability has: its stream, its job, its queues."""
    made = cloudwatch.Dashboard(scope, "Dashboard", dashboard_name=name)
    made.add_widgets(
        _graph(
            "Records in",
            [stream.metric_incoming_records(period=_MINUTE), stream.metric_get_records_success(period=_MINUTE)],
        ),
        _graph(
            "How late records are read, in milliseconds",
            [stream.metric_get_records_iterator_age_milliseconds(period=_MINUTE, statistic="Maximum")],
        ),
        _graph(
            "The job's time, in milliseconds",
            [job.metric(each, "Maximum") for each in ("runningTime", "restartingTime", "failingTime")],
        ),
        _graph(
            "Restarts and failed checkpoints",
            [job.metric(each, "Maximum") for each in ("numRestarts", "numberOfFailedCheckpoints")],
        ),
        _graph("Checkpoints, in milliseconds", [job.metric("lastCheckpointDuration", "Maximum")]),
        _graph(
            "Processor and memory, in per cent",
            [
                job.metric(each, "Maximum")
                for each in ("containerCPUUtilization", "containerMemoryUtilization", "heapMemoryUtilization")
            ],
        ),
    )
    for title, pair in queues.items():
        made.add_widgets(
            _graph(
                f"Queue: {title}",
                [
                    pair.queue.metric_approximate_number_of_messages_visible(period=_MINUTE, statistic="Maximum"),
                    pair.dead_letters.metric_approximate_number_of_messages_visible(
                        period=_MINUTE, statistic="Maximum", label="unhandled"
                    ),
                ],
            ),
            _graph(
                f"Oldest message: {title}, in seconds",
                [pair.queue.metric_approximate_age_of_oldest_message(period=_MINUTE, statistic="Maximum")],
            ),
        )
    return made


def add_capacity(made: cloudwatch.Dashboard, job: FlinkApplication) -> None:
    """What the capacity job counts, and what its actuator does."""
    application = job.application_name
    made.add_widgets(
        _graph("What was read", counters_of(application, list(READ))),
        _graph("What was decided", counters_of(application, [*DECIDED, *RULES])),
        _graph(
            "How late decisions are, in milliseconds",
            counters_of(application, [ACTION_DELAY, LAG, SOURCE_LAG], "Maximum"),
        ),
        *_ends(application),
        _graph("What the actuator did", [_lambda_metric(name) for name in SUSPEND if name.startswith("Actions")]),
        _graph(
            "From decision to cache, in milliseconds",
            [_lambda_metric("ApplyDelay", each) for each in ("p50", "p99", "Maximum")],
        ),
    )


def add_spot(made: cloudwatch.Dashboard, job: FlinkApplication, functions: Sequence[lambda_.IFunction]) -> None:
    """What the Spot job counts, and what its actuators do."""
    application = job.application_name
    made.add_widgets(
        _graph("What was read", counters_of(application, list(SPOT_READ))),
        _graph("What was decided", counters_of(application, list(SPOT_DECIDED))),
        _graph(
            "How late decisions are, in milliseconds",
            counters_of(application, [ACTION_DELAY, LAG, SOURCE_LAG], "Maximum"),
        ),
        *_ends(application),
        # Each actuator is a service of its own, and several of them drive the same swap.
        *(
            _graph(title, _found("{Headroom,service}", [name for name in SPOT_ACTUATORS if name.startswith(begins)]))
            for title, begins in _SPOT_GRAPHS.items()
        ),
        _graph("Failures of the actuators", [each.metric_errors(period=_MINUTE) for each in functions]),
        _graph("Calls put off for want of concurrency", [each.metric_throttles(period=_MINUTE) for each in functions]),
        _graph(
            "Duration of the actuators, in milliseconds",
            [each.metric_duration(period=_MINUTE, statistic="Maximum") for each in functions],
        ),
    )


def _ends(application: str) -> list[cloudwatch.IWidget]:
    return [
        _graph("What became of actions", counters_of(application, list(OUTBOX))),
        _graph("How the stream was read", counters_of(application, [n for n in SOURCE_COUNTERS if n != "bytes"])),
    ]


def _lambda_metric(name: str, statistic: str = "Sum") -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="Headroom",
        metric_name=name,
        dimensions_map={"service": "suspend"},
        statistic=statistic,
        period=_MINUTE,
        label=name if statistic == "Sum" else f"{name} {statistic}",
    )


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_WIDTH)
