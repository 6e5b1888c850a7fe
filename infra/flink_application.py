"""A job on Managed Service for Apache Flink: application, role, logs, alarms."""

import zipfile
from collections.abc import Mapping, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisanalyticsv2 as analytics
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra.deployment import Capability, Deployment, DeploymentError, package
from infra.parts import alarm, alarm_on_silence, allow, depend_on_policy, retention, role, use_key
from jobs.package.run_options import GROUP as RUN_GROUP
from jobs.package.run_options import run_options
from jobs.settings.aws import KinesisReader
from jobs.settings.load import load_settings
from jobs.settings.properties import to_groups

RUNTIME: Final = "FLINK-2_3"
NAMESPACE: Final = "AWS/KinesisAnalytics"
_MOST_KPUS_PER_PARALLELISM: Final = 1
_MINUTE: Final = cdk.Duration.minutes(1)
_MALFORMED_PERIOD: Final = cdk.Duration.minutes(5)


def read_stream(stream: kinesis.IStream, key: kms.IKey) -> list[iam.PolicyStatement]:
    """What reading a stream by polling its shards takes."""
    actions = ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"]
    return [allow(actions, [stream.stream_arn]), use_key(key, ["kms:Decrypt"], "kinesis")]


class FlinkApplication(Construct):
    """An application with snapshots, a role of its own, its log, and the alarms that every job has.

    Args:
        scope: The stack.
        name: The construct's name.
        capability: Whose job.
        deployment: What is deployed.
        key: Encrypts its log.
        statements: What the job may do beyond reading its package and writing its log.
        ends: Property groups that name the job's streams and queues; they win over those of the settings file.
        alarm_action: Where alarms go.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        capability: Capability,
        deployment: Deployment,
        key: kms.IKey,
        statements: Sequence[iam.PolicyStatement],
        ends: Mapping[str, Mapping[str, str]],
        alarm_action: cloudwatch.IAlarmAction,
    ) -> None:
        super().__init__(scope, name)
        self.application_name = f"{deployment.name}-{capability}"
        code = assets.Asset(self, "Package", path=str(package(deployment, capability)))
        log_group = logs.LogGroup(
            self,
            "Logs",
            encryption_key=key,
            retention=retention(deployment.log_retention_days),
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        cdk.CfnOutput(cdk.Stack.of(self), "JobLogGroup", value=log_group.log_group_name)
        log_stream = logs.LogStream(self, "LogStream", log_group=log_group, log_stream_name="flink")
        self.role = role(
            self,
            "Job",
            "kinesisanalytics.amazonaws.com",
            [*statements, *_own(code, log_group)],
            ArnLike={"aws:SourceArn": _application_arn(self.application_name)},
        )
        self.application = analytics.CfnApplication(
            self,
            "Application",
            application_name=self.application_name,
            application_mode="STREAMING",
            runtime_environment=RUNTIME,
            service_execution_role=self.role.role_arn,
            application_configuration=_configuration(
                code, _groups(deployment, capability, ends), deployment.kpus[capability]
            ),
        )
        depend_on_policy(self.application, self.role)
        analytics.CfnApplicationCloudWatchLoggingOption(
            self,
            "Logging",
            application_name=self.application.ref,
            cloud_watch_logging_option={
                "logStreamArn": f"{_without_star(log_group)}:log-stream:{log_stream.log_stream_name}"
            },
        )
        self._add_alarms(alarm_action)

    def metric(self, name: str, statistic: str, **dimensions: str) -> cloudwatch.Metric:
        """A metric that the service publishes of the application."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"Application": self.application_name, **dimensions},
            statistic=statistic,
            period=_MINUTE,
        )

    def growth(self, name: str, period: cdk.Duration = _MINUTE) -> cloudwatch.IMetric:
        """What a counter of the job's own grew by; its first value counts in full, for it is not there before."""
        return self._growth(self._own("AVG", name, period), period)

    def highest(self, name: str) -> cloudwatch.IMetric:
        """The highest value of a gauge of the job's own."""
        return self._own("MAX", name, _MINUTE)

    def _own(self, function: str, name: str, period: cdk.Duration) -> cloudwatch.IMetric:
        # Whatever dimensions the service adds. Not by SEARCH, on which there can be no alarm.
        # Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Metrics_Insights_Alarm.html
        where = f"WHERE Application = '{self.application_name}'"
        query = f'SELECT {function}("{name}") FROM "{NAMESPACE}" {where}'  # noqa: S608 - of CloudWatch, with our own names
        return cloudwatch.MathExpression(expression=query, period=period, label=name)

    def _growth(self, counter: cloudwatch.IMetric, period: cdk.Duration = _MINUTE) -> cloudwatch.IMetric:
        # Counters count from the job's start, so one failure would ring until the next restart.
        grown = "DIFF(FILL(counted, 0))"
        return cloudwatch.MathExpression(expression=grown, using_metrics={"counted": counter}, period=period)

    def _add_alarms(self, action: cloudwatch.IAlarmAction) -> None:
        # Source: https://docs.aws.amazon.com/managed-flink/latest/java/monitoring-metrics-alarms.html, with the names
        # of Flink 2.2 and later: https://docs.aws.amazon.com/managed-flink/latest/java/flink-2-2.html
        failed = self.metric("numberOfFailedCheckpoints", "Maximum")
        for name, metric, above, periods, what in (
            ("JobFailing", self.metric("failingTime", "Maximum"), 0, 1, "The job is failing over and over."),
            ("JobRestarting", self.metric("restartingTime", "Maximum"), 60_000, 1, "A restart takes over a minute."),
            ("CheckpointsFailing", self._growth(failed), 0, 3, "Checkpoints fail."),
            ("CheckpointSlow", self.metric("lastCheckpointDuration", "Maximum"), 60_000, 3, "Checkpoints take long."),
            ("HeapFull", self.metric("heapMemoryUtilization", "Maximum"), 90, 5, "Java's memory is nearly full."),
            ("MemoryFull", self.metric("containerMemoryUtilization", "Maximum"), 90, 5, "Memory is nearly full."),
            ("ProcessorFull", self.metric("containerCPUUtilization", "Maximum"), 80, 15, "The processors are busy."),
            ("RecordsMissed", self.growth("retention_gaps"), 0, 1, "The stream had dropped what was not read yet."),
        ):
            alarm(self, name, metric, above=above, periods=periods, what=what, action=action)
        running = self.metric("runningTime", "Maximum")
        alarm_on_silence(self, "JobSilent", running, periods=5, what="The job does not run.", action=action)


def alarm_on_malformed(scope: Construct, job: FlinkApplication, action: cloudwatch.IAlarmAction) -> None:
    """Tell of records that cannot be read where they do not cease: a table's key is not known, or a form is new."""
    malformed = job.growth("malformed", _MALFORMED_PERIOD)
    what = "Changes come that cannot be read, and count as nothing."
    alarm(scope, "ChangesMalformed", malformed, above=0, periods=3, what=what, action=action)


def _groups(
    deployment: Deployment, capability: Capability, ends: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Property groups as the console shows them: what runs, and the settings.

    Raises:
        DeploymentError: The job would not start with these settings.
    """
    read = load_settings(deployment.settings)
    subtasks, kpus = read.kinesis.subtasks, deployment.kpus[capability]
    if subtasks > kpus:
        raise DeploymentError(
            [f"{deployment.settings}: kinesis.subtasks: {subtasks} is above kpus.{capability}, {kpus}"]
        )
    zipped = package(deployment, capability)
    with zipfile.ZipFile(zipped) as archive:
        run = run_options(archive.namelist())
    if "jarfile" not in run and read.kinesis.reader is KinesisReader.AWS and capability is not Capability.SPOT:
        build_it = f"headroom package {capability} --connector-jar FILE --out {deployment.packages}"
        raise DeploymentError([f'{deployment.settings}: kinesis.reader: "aws", and {zipped} has no jar: {build_it}'])
    settings = to_groups(read)
    for group, entries in ends.items():
        settings[group] = settings.get(group, {}) | dict(entries)
    return {RUN_GROUP: run, **settings}


def _configuration(code: assets.Asset, groups: Mapping[str, Mapping[str, str]], kpus: int) -> dict[str, object]:
    bucket_arn = f"arn:{cdk.Aws.PARTITION}:s3:::{code.s3_bucket_name}"
    return {
        "applicationCodeConfiguration": {
            "codeContentType": "ZIPFILE",
            "codeContent": {"s3ContentLocation": {"bucketArn": bucket_arn, "fileKey": code.s3_object_key}},
        },
        "environmentProperties": {
            "propertyGroups": [
                {"propertyGroupId": group, "propertyMap": dict(entries)} for group, entries in groups.items()
            ]
        },
        "flinkApplicationConfiguration": {
            "checkpointConfiguration": {
                "configurationType": "CUSTOM",
                "checkpointingEnabled": True,
                # What is done again after a failure, and how long an action may have to wait for it.
                "checkpointInterval": 30_000,
                "minPauseBetweenCheckpoints": 5_000,
            },
            "monitoringConfiguration": {
                "configurationType": "CUSTOM",
                "metricsLevel": "OPERATOR",
                "logLevel": "INFO",
            },
            "parallelismConfiguration": {
                "configurationType": "CUSTOM",
                "parallelism": kpus,
                "parallelismPerKpu": _MOST_KPUS_PER_PARALLELISM,
                # Scaling stops the job for a while; that is decided by a person (docs/operations.md).
                "autoScalingEnabled": False,
            },
        },
        "applicationSnapshotConfiguration": {"snapshotsEnabled": True},
        "applicationSystemRollbackConfiguration": {"rollbackEnabled": True},
    }


def _own(code: assets.Asset, log_group: logs.LogGroup) -> list[iam.PolicyStatement]:
    package_arn = f"arn:{cdk.Aws.PARTITION}:s3:::{code.s3_bucket_name}/{code.s3_object_key}"
    log_groups = f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:log-group:*"
    return [
        allow(["s3:GetObject", "s3:GetObjectVersion"], [package_arn]),
        allow(["logs:DescribeLogStreams", "logs:PutLogEvents"], [log_group.log_group_arn]),
        allow(["logs:DescribeLogGroups"], [log_groups]),
    ]


def _application_arn(name: str) -> str:
    return f"arn:{cdk.Aws.PARTITION}:kinesisanalytics:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:application/{name}"


def _without_star(log_group: logs.LogGroup) -> str:
    return f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:log-group:{log_group.log_group_name}"
