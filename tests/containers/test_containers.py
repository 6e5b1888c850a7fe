"""The whole loop on containers: Valkey's own image, and an emulator of AWS that is not the one of the other tests."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.loop import Loop

VALKEY = "valkey/valkey:8.1"
AWS = "localstack/localstack:4.4"


def has_docker() -> bool:
    """Whether an engine answers."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "info"], capture_output=True, check=False, timeout=30)
    return asked.returncode == 0


@pytest.fixture
def engine() -> None:
    if os.environ.get("HEADROOM_CONTAINERS") != "1":
        pytest.skip("images are only pulled by `make test-containers`")
    if not has_docker():
        pytest.skip("no Docker engine answers on this machine")


class ContainerLoop(Loop):
    """The loop with what is not ours in containers."""

    def serve(self) -> None:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.waiting_utils import wait_for_logs

        self._containers: list[Any] = [
            DockerContainer(AWS).with_env("SERVICES", "kinesis,sqs").with_exposed_ports(4566),
            DockerContainer(VALKEY).with_exposed_ports(6379),
        ]
        for container, ready in zip(self._containers, ("Ready.", "Ready to accept connections"), strict=True):
            container.start()
            wait_for_logs(container, ready, timeout=120)
        aws, valkey = self._containers
        self.endpoint = self.kinesis_url = f"http://127.0.0.1:{aws.get_exposed_port(4566)}"
        self.cache_port = int(valkey.get_exposed_port(6379))

    def end_servers(self) -> None:
        for container in self._containers:
            container.stop()


@pytest.mark.flink
@pytest.mark.usefixtures("engine")
def test_the_loop_says_what_the_oracle_says_on_containers(tmp_path: Path) -> None:
    with ContainerLoop(tmp_path, duplicates=0.1) as loop:
        loop.start_job()
        loop.feed()
        loop.begin("none, on containers")
        loop.wait_for_effects(8)
        (row,) = loop.end()
    assert row.is_clean
    assert row.actions
