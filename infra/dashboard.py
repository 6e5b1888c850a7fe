"""A dashboard for each capability: what goes in, what comes out, how late, and what stands in the way."""

from collections.abc import Mapping, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from connectors.published_metrics import SOURCE_COUNTERS
from infra.flink_application import NAMESPACE, FlinkApplication
from infra.parts import QueuePair
from jobs.metric_names import (
    ACTION_DELAY,
    DECIDED,
    LAG,
    LEDGER,
    OUTBOX,
    OUTBOX_WAITING,
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
    "What the actuators could not do": ("LaunchesRefused", "InstancesNotManaged", "ActionsSkipped", "Messages", "Runs"),
}


def _counters(application: str, names: Sequence[str]) -> list[cloudwatch.IMetric]:
    """What counters of a job grew by in each minute: they count from its start, and are looked at four times a minute.

    Source: https://docs.aws.amazon.com/managed-flink/latest/java/metrics-dimensions.html
    """
    return _found("DIFF(SUM({}))", _of_job(application), names, "Average")


def _gauges(application: str, names: Sequence[str]) -> list[cloudwatch.IMetric]:
    """The highest value of gauges of a job."""
    return _found("MAX({})", _of_job(application), names, "Maximum")


def _of_job(application: str) -> str:
    # Not as a schema in braces, which finds metrics with exactly the dimensions that it names: the service adds some.
    return f'Namespace="{NAMESPACE}" Application="{application}"'


def _found(formula: str, where: str, names: Sequence[str], statistic: str) -> list[cloudwatch.IMetric]:
    return [
        cloudwatch.MathExpression(
            expression=formula.format(f"SEARCH('{where} MetricName=\"{name}\"', '{statistic}', 60)"),
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
        _graph("What was read, a minute", _counters(application, list(READ))),
        _graph("What was decided, a minute", _counters(application, [*DECIDED, *RULES])),
        _graph("How late decisions are, in milliseconds", _gauges(application, [ACTION_DELAY, LAG, SOURCE_LAG])),
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
        _graph("What was read, a minute", _counters(application, list(SPOT_READ))),
        _graph("What was decided, a minute", _counters(application, list(SPOT_DECIDED))),
        _graph("How late decisions are, in milliseconds", _gauges(application, [ACTION_DELAY, LAG, SOURCE_LAG])),
        *_ends(application),
        # Each actuator is a service of its own, and several of them drive the same swap.
        *(
            _graph(
                title,
                _found(
                    "SUM({})",
                    "{Headroom,service}",
                    [name for name in SPOT_ACTUATORS if name.startswith(begins)],
                    "Sum",
                ),
            )
            for title, begins in _SPOT_GRAPHS.items()
        ),
        _graph("Failures of the actuators", [each.metric_errors(period=_MINUTE) for each in functions]),
        _graph("Calls put off for want of concurrency", [each.metric_throttles(period=_MINUTE) for each in functions]),
        _graph(
            "Duration of the actuators, in milliseconds",
            [each.metric_duration(period=_MINUTE, statistic="Maximum") for each in functions],
        ),
    )


def add_usage(made: cloudwatch.Dashboard, job: FlinkApplication) -> None:
    """What the usage job counts."""
    application = job.application_name
    sums = ("wcu", "bytes_written")  # so large that nothing else could be seen beside them
    made.add_widgets(
        _graph("What was read, a minute", _counters(application, list(READ))),
        _graph("What went into the ledger, a minute", _counters(application, [n for n in LEDGER if n not in sums])),
        _graph("Write capacity in the ledger, a minute", _counters(application, ["wcu"])),
        _graph("Bytes written in the ledger, a minute", _counters(application, ["bytes_written"])),
        _graph("How late the ledger is, in milliseconds", _gauges(application, [LAG, SOURCE_LAG])),
        _reading(application),
    )


def _ends(application: str) -> list[cloudwatch.IWidget]:
    counted = [name for name in OUTBOX if name != OUTBOX_WAITING]
    became = [*_counters(application, counted), *_gauges(application, [OUTBOX_WAITING])]
    return [_graph("What became of actions, a minute", became), _reading(application)]


def _reading(application: str) -> cloudwatch.IWidget:
    counted = _counters(application, [name for name in SOURCE_COUNTERS if name != "bytes"])
    return _graph("How the stream was read, a minute", counted)


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
