"""AWS's source without its jar: one clear error, before anything is built."""

from pathlib import Path

import pytest

from connectors.kinesis import aws_source
from connectors.kinesis.aws_source import aws_kinesis_table
from connectors.kinesis.client import KinesisError
from connectors.kinesis.config import KinesisConfig
from jobs.execution import ExecutionMode
from jobs.runtime import local_environment
from tests.kinesis_streams import ReadEvents

pytestmark = pytest.mark.flink

NOWHERE = KinesisConfig("changes", region="eu-west-1", endpoint_url="http://127.0.0.1:9")


def build(jar: Path | None) -> None:
    environment = local_environment(parallelism=1, execution_mode=ExecutionMode.THREAD)
    aws_kinesis_table(environment.streams, environment.tables, NOWHERE, ReadEvents(), {}, jar)


@pytest.mark.parametrize(("jar", "said"), [(None, "kinesis.jar"), ("nowhere.jar", "nowhere.jar: no such file")])
def test_without_its_jar_the_error_says_where_to_get_it(jar: str | None, said: str) -> None:
    with pytest.raises(KinesisError, match="flink-sql-connector-aws-kinesis-streams") as raised:
        build(None if jar is None else Path(jar))
    assert said in str(raised.value)
    assert 'kinesis.reader = "python"' in str(raised.value)


@pytest.mark.parametrize("jar", [None, Path("aws-kinesis.jar")])
def test_a_source_that_is_on_the_class_path_already_needs_no_file(
    jar: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the jar of a package on the managed service; the stream is asked for then."""
    monkeypatch.setattr(aws_source, "_FACTORY", "org.apache.flink.table.api.TableEnvironment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(KinesisError, match="changes"):
        build(jar)
