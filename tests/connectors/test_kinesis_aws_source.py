"""AWS's source without its jar: one clear error, before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from connectors.kinesis.aws_source import aws_kinesis_table
from connectors.kinesis.client import KinesisError
from connectors.kinesis.config import KinesisConfig
from tests.kinesis_streams import ReadEvents

NOT_BUILT: Any = None


@pytest.mark.parametrize(("jar", "said"), [(None, "kinesis.jar"), ("nowhere.jar", "nowhere.jar: no such file")])
def test_without_its_jar_the_error_says_where_to_get_it(jar: str | None, said: str) -> None:
    with pytest.raises(KinesisError, match="flink-sql-connector-aws-kinesis-streams") as raised:
        aws_kinesis_table(
            NOT_BUILT, NOT_BUILT, KinesisConfig("changes"), ReadEvents(), {}, None if jar is None else Path(jar)
        )
    assert said in str(raised.value)
    assert 'kinesis.reader = "python"' in str(raised.value)
