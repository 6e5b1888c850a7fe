"""`headroom spot apply` killed from outside by SIGKILL at random moments, over a moto server in a process of its own.

Each time it is run again until it gets to the end. While that goes on, the groups are looked at as anybody can: no
group may have fewer serving instances than desired when it began. The claim of a killed run lasts 90 s, which nobody
waits for here: it is taken out of the journal, as if that time had passed.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import boto3

from jobs.up.services import free_port
from lambdas.spot.fleet import SWAP_TAG

REGION: Final = "eu-west-1"
TABLE: Final = "headroom-swaps"
SIZE: Final = 3
GROUPS: Final = ("api", "web")
_LONGEST_S: Final = 2.5
"""About what an apply of this fleet takes from its plan to its end."""

_MOST_ENDS: Final = 4
"""Runs to the end: on a busy machine moto may not answer one in time, which then says so and leaves the rest."""

_PRICES: Final = (
    '{"version": 1, "currency": "USD", "on_demand": [{"region": "eu-west-1", "instance_type": "m5.large",'
    ' "platform": "Linux/UNIX", "per_hour": "0.1070"}], "spot": [], "covered": []}'
)


@dataclass
class Killed:
    """What is left after all runs.

    Attributes:
        kills: runs that were killed while they swapped.
        lowest: the fewest serving instances that a group was seen with.
        sizes: MinSize, desired capacity and MaxSize of each group in the end.
        orphans: instances that were launched and are in no group.
        open_swaps: groups with swaps that are not over.
        suspended: processes that are suspended.
        launches: how many instances were ever launched for each swap.
        settled: whether every instance was in the end of the kind that was wanted last, and no swap open.
        said: what the runs printed.
    """

    kills: int = 0
    lowest: int = SIZE
    sizes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    open_swaps: int = 0
    suspended: int = 0
    launches: Counter[str] = field(default_factory=Counter)
    settled: bool = False
    said: list[str] = field(default_factory=list)


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """The address of a fresh moto server, as an outsider starts one."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with (folder / "moto.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 - our own command
        try:
            _until_it_answers(f"{url}/moto-api/")
            yield url
        finally:
            process.terminate()
            process.wait()


def _until_it_answers(url: str) -> None:
    for _ in range(300):
        try:
            with urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except URLError:
            time.sleep(0.1)
    reason = f"{url} does not answer"
    raise RuntimeError(reason)


def apply_killed(*, kills: int, seed: int) -> Killed:
    """Runs `headroom spot apply` until that many runs were killed, then to the end.

    When all is Spot the groups are to be On-Demand, and so on, so that there is always something to do.
    """
    chance = random.Random(seed)  # noqa: S311 - it chooses moments, not secrets
    with tempfile.TemporaryDirectory() as name, moto_server(Path(name)) as url:
        account = _Account(url, Path(name))
        account.make()
        found = Killed()
        with account.watched(found):
            while found.kills < kills:
                found.kills += account.apply(found, kill_after_s=chance.uniform(0, _LONGEST_S)) < 0
                account.let_claims_lapse()
                if account.is_settled():
                    account.turn()
            for _ in range(_MOST_ENDS):
                if account.apply(found, kill_after_s=None) == 0:
                    break
                account.let_claims_lapse()
            found.settled = account.is_settled()
        account.look(found)
        return found


class _Account:
    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.wanted = "spot"
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "HEADROOM_CACHE_DIR": str(folder / "cache"),
        }
        session = boto3.session.Session("x", "x", region_name=REGION)
        self.ec2, self.autoscaling, self.dynamodb = (
            session.client(name, endpoint_url=url) for name in ("ec2", "autoscaling", "dynamodb")
        )

    def make(self) -> None:
        """Two groups at their MaxSize, and a table."""
        (self.folder / "prices.json").write_text(_PRICES, encoding="utf-8")
        self.dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        tags = {"AsgOptimiser": "on", "AsgOptimiser:MaxPoolPercent": "100", "AsgOptimiser:Parallel": str(SIZE)}
        for name in GROUPS:
            template = self.ec2.create_launch_template(
                LaunchTemplateName=name, LaunchTemplateData={"ImageId": "ami-12345678", "InstanceType": "m5.large"}
            )
            self.autoscaling.create_auto_scaling_group(
                AutoScalingGroupName=name,
                MinSize=1,
                MaxSize=SIZE,
                DesiredCapacity=SIZE,
                VPCZoneIdentifier=subnet,
                LaunchTemplate={"LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"},
                Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": False} for key, value in tags.items()],
            )

    def apply(self, found: Killed, *, kill_after_s: float | None) -> int:
        """The exit status of a run, below 0 if it was killed before it came to its end; with no time, it is let be."""
        command = [sys.executable, "-m", "jobs.cli", "spot", "apply", "--yes", "--table", TABLE]
        command += ["--prices", str(self.folder / "prices.json")]
        with subprocess.Popen(  # noqa: S603 - our own command
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            for line in process.stdout:
                found.said.append(line.rstrip())
                if kill_after_s is not None and "to swap in" in line:
                    time.sleep(kill_after_s)
                    process.kill()
            return process.wait()

    def let_claims_lapse(self) -> None:
        for item in self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]:
            body = json.loads(item["body"]["S"]) | {"claimed_until_ms": 0}
            self.dynamodb.put_item(TableName=TABLE, Item=item | {"body": {"S": json.dumps(body)}})

    def groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return found

    def instances(self) -> dict[str, dict[str, Any]]:
        pages = self.ec2.describe_instances()["Reservations"]
        return {one["InstanceId"]: one for page in pages for one in page["Instances"]}

    def turn(self) -> None:
        """From now on the groups are to be of the other kind."""
        self.wanted = "on-demand" if self.wanted == "spot" else "spot"
        least = "0" if self.wanted == "spot" else str(SIZE)
        self.autoscaling.create_or_update_tags(
            Tags=[
                {
                    "ResourceId": name,
                    "ResourceType": "auto-scaling-group",
                    "Key": "AsgOptimiser:MinOnDemand",
                    "Value": least,
                    "PropagateAtLaunch": False,
                }
                for name in GROUPS
            ]
        )

    def is_settled(self) -> bool:
        instances = self.instances()
        journals = self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return not any(item["open"]["BOOL"] for item in journals) and all(
            instances[one["InstanceId"]].get("InstanceLifecycle", "on-demand") == self.wanted
            for group in self.groups()
            for one in group["Instances"]
        )

    @contextmanager
    def watched(self, found: Killed) -> Iterator[None]:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.25):  # what a killed run leaves lasts until the next
                # The groups first: what ends meanwhile, the group may still list.
                groups, instances = self.groups(), self.instances()
                for group in groups:
                    serving = sum(
                        one["LifecycleState"] == "InService"
                        and instances[one["InstanceId"]]["State"]["Name"] == "running"
                        for one in group["Instances"]
                    )
                    again = {one["InstanceId"] for each in self.groups() for one in each["Instances"]}
                    gone = sum(one["InstanceId"] not in again for one in group["Instances"])
                    found.lowest = min(found.lowest, serving + gone)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def look(self, found: Killed) -> None:
        groups, instances = self.groups(), self.instances()
        members = {one["InstanceId"] for group in groups for one in group["Instances"]}
        for name, one in instances.items():
            swap = next((tag["Value"] for tag in one.get("Tags", []) if tag["Key"] == SWAP_TAG), None)
            if swap is not None:
                found.launches[swap] += 1
                if one["State"]["Name"] in ("pending", "running") and name not in members:
                    found.orphans.append(name)
        found.sizes = {
            group["AutoScalingGroupName"]: (group["MinSize"], group["DesiredCapacity"], group["MaxSize"])
            for group in groups
        }
        found.suspended = sum(len(group.get("SuspendedProcesses", [])) for group in groups)
        journals = self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        found.open_swaps = sum(item["open"]["BOOL"] for item in journals)


def measure(kills: int = 10, seed: int = 7) -> Mapping[str, Mapping[str, str | int | float]]:
    """The counts after that many kills."""
    found = apply_killed(kills=kills, seed=seed)
    return {
        "apply killed from outside": {
            "kills": found.kills,
            "orphans": len(found.orphans),
            "below desired": SIZE - found.lowest,
            "sizes changed": sum(sizes != (1, SIZE, SIZE) for sizes in found.sizes.values()),
            "processes suspended": found.suspended,
            "double launches": sum(count - 1 for count in found.launches.values()),
            "swaps left open": found.open_swaps,
            "as wanted in the end": found.settled,
        }
    }
