"""The usage ledger: the job, its bucket, and the table and workgroup to query it with."""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.dashboard import add_usage, dashboard
from infra.deployment import Capability, Deployment
from infra.flink_application import FlinkApplication, alarm_on_malformed, read_stream
from infra.ledger_table import COLUMNS, PARTITIONS, projection
from infra.parts import alarm, allow, use_key
from infra.shared import SharedStack
from jobs.metric_names import SOURCE_LAG
from jobs.settings import UsageSettings, UsageSink
from jobs.settings.load import load_settings

LEDGER_PREFIX = "ledger/"
_LATE_MS: Final = 600_000
# The longest span of a file is an hour (`usage.file_span`), and an alarm on a query sees three hours back.
# Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html
_SILENT_PERIOD: Final = cdk.Duration.minutes(30)
_SILENT_PERIODS: Final = 3


class UsageStack(cdk.Stack):
    """From the stream of changes to a ledger that Athena reads."""

    def __init__(self, scope: Construct, name: str, deployment: Deployment, shared: SharedStack) -> None:
        super().__init__(scope, name, description="Headroom: usage ledger")
        key = shared.key
        assert shared.changes is not None  # noqa: S101 - the shared stack has it where a capability reads changes
        access_logs = _bucket(self, "AccessLogs", None)
        access_logs.add_lifecycle_rule(expiration=cdk.Duration.days(deployment.log_retention_days))
        self.ledger = _bucket(self, "Ledger", key, access_logs)
        # Hours that were replaced by a corrected or compacted file.
        self.ledger.add_lifecycle_rule(noncurrent_version_expiration=cdk.Duration.days(30))
        results = _bucket(self, "QueryResults", key, access_logs)
        results.add_lifecycle_rule(expiration=cdk.Duration.days(7))
        location = f"s3://{self.ledger.bucket_name}/{LEDGER_PREFIX}"
        self.job = FlinkApplication(
            self,
            "Job",
            capability=Capability.USAGE,
            deployment=deployment,
            key=key,
            statements=[
                *read_stream(shared.changes, key),
                allow(
                    ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                    [self.ledger.arn_for_objects(f"{LEDGER_PREFIX}*")],
                ),
                allow(["s3:ListBucket"], [self.ledger.bucket_arn], {"StringLike": {"s3:prefix": f"{LEDGER_PREFIX}*"}}),
                use_key(key, ["kms:Decrypt", "kms:GenerateDataKey"], "s3"),
                *_send_rows(load_settings(deployment.settings).usage),
            ],
            ends={
                "headroom.kinesis": {"stream": shared.changes.stream_name, "region": cdk.Aws.REGION},
                "headroom.usage": {"ledger": location, "region": cdk.Aws.REGION},
            },
            alarm_action=shared.alarm_action,
        )
        _catalog(self, deployment.name, location)
        athena.CfnWorkGroup(
            self,
            "Queries",
            name=f"{deployment.name}-usage",
            recursive_delete_option=False,
            work_group_configuration={
                "engineVersion": {"selectedEngineVersion": "Athena engine version 3"},
                "enforceWorkGroupConfiguration": True,
                "publishCloudWatchMetricsEnabled": True,
                "requesterPaysEnabled": False,
                # 100 GB: a month of a large ledger. A query that reads more is a mistake before it is a bill.
                "bytesScannedCutoffPerQuery": 100 * 1024**3,
                "resultConfiguration": {
                    "outputLocation": f"s3://{results.bucket_name}/",
                    "encryptionConfiguration": {"encryptionOption": "SSE_KMS", "kmsKey": key.key_arn},
                },
            },
        )
        self._add_alarms(shared.changes, shared.alarm_action)
        shown = dashboard(self, name, job=self.job, stream=shared.changes, queues={})
        add_usage(shown, self.job)
        cdk.CfnOutput(self, "LedgerLocation", value=location)

    def _add_alarms(self, changes: kinesis.IStream, action: cloudwatch.IAlarmAction) -> None:
        late = self.job.highest(SOURCE_LAG)
        what = "Changes are read late, so the ledger is behind."
        alarm(self, "LedgerLate", late, above=_LATE_MS, periods=5, what=what, action=action)
        silent = cloudwatch.MathExpression(
            expression="IF(FILL(records, 0) > 0 AND written <= 0, 1, 0)",
            using_metrics={
                "records": changes.metric_incoming_records(period=_SILENT_PERIOD, statistic="Sum"),
                "written": self.job.growth("ledger_files", _SILENT_PERIOD),
            },
            period=_SILENT_PERIOD,
        )
        what = "Changes come, and no file of the ledger is written."
        alarm(self, "LedgerSilent", silent, above=0, periods=_SILENT_PERIODS, what=what, action=action)
        alarm_on_malformed(self, self.job, action)


def _send_rows(usage: UsageSettings) -> list[iam.PolicyStatement]:
    """What the job needs to send rows to the Data Firehose stream of the settings, which is not made here."""
    if usage.sink is not UsageSink.FIREHOSE:
        return []
    place = f"arn:{cdk.Aws.PARTITION}:firehose:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}"
    return [allow(["firehose:PutRecordBatch"], [f"{place}:deliverystream/{usage.delivery_stream}"])]


def _bucket(
    scope: Construct, name: str, key: cdk.aws_kms.IKey | None, access_logs: s3.Bucket | None = None
) -> s3.Bucket:
    """A private bucket with versions that refuses whatever does not come by TLS; without a key, encrypted by S3's own.

    S3 can write access logs only into a bucket that is encrypted by its own key.
    """
    return s3.Bucket(
        scope,
        name,
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=True if key else None,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        server_access_logs_bucket=access_logs,
        server_access_logs_prefix=f"{name.lower()}/" if access_logs else None,
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )


def _catalog(scope: Construct, name: str, location: str) -> None:
    database = glue.CfnDatabase(
        scope,
        "Catalog",
        catalog_id=cdk.Aws.ACCOUNT_ID,
        database_input={"name": name.replace("-", "_"), "description": "Headroom's usage ledger"},
    )
    glue.CfnTable(
        scope,
        "LedgerTable",
        catalog_id=cdk.Aws.ACCOUNT_ID,
        database_name=database.ref,
        table_input={
            "name": "ledger",
            "description": "Write capacity of partition keys by minute; what lower_bounds names is a lower bound",
            "tableType": "EXTERNAL_TABLE",
            "parameters": projection(location),
            "partitionKeys": [{"name": column, "type": kind} for column, kind in PARTITIONS],
            "storageDescriptor": {
                "columns": [{"name": column, "type": kind} for column, kind in COLUMNS],
                "location": location,
                "inputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "outputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                "serdeInfo": {"serializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
            },
        },
    )
