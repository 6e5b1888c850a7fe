"""What is deployed: read from a TOML file, every mistake told at once. Pure but for reading it."""

import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


class Capability(StrEnum):
    """What can be deployed alone."""

    CAPACITY = "capacity"
    USAGE = "usage"
    SPOT = "spot"


_NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,19}")
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.+")
_TAG: Final = re.compile(r"[A-Za-z0-9_.:/=+@-]{1,100}")
_LONGEST_RETENTION_DAYS: Final = 3653


class DeploymentError(ValueError):
    """A deployment cannot be made as it is written; `problems` holds every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Network:
    """An existing network for the cache and its actuator; without one, a network of two private subnets is made."""

    vpc_id: str
    subnet_ids: tuple[str, ...]
    availability_zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed.

    Attributes:
        name: What every name begins with; two deployments in an account have different ones.
        capabilities: Which systems.
        tables: DynamoDB tables, in this account and Region, whose changes go to the stream.
        settings: A settings file of Headroom, whose settings the jobs get as property groups.
        packages: Where `headroom package` put its zips.
        alarm_email: Who is told of alarms, through a subscription that has to be confirmed.
        network: Where the cache is.
        group_tag: Tag of the Auto Scaling groups, and of their launch templates, that may be changed.
        instance_role_arns: Roles of instances in these groups: no other can be passed on.
        operator_role_arns: Roles of people who may put messages back into the queues from the dead-letter queues.
        rule_writer_role_arns: Roles that may write to the control stream of rules; nobody else may.
        kpus: Parallelism of each job, which is its number of KPUs.
        log_retention_days: How long logs are kept.
        compute_plan_percent: How much of each Compute Savings Plan is left for the instances of this Region.
        dry_run: The actuators of Spot plan and change nothing.
    """

    name: str = "headroom"
    capabilities: frozenset[Capability] = frozenset(Capability)
    tables: tuple[str, ...] = ()
    settings: Path | None = None
    packages: Path = Path("packages")
    alarm_email: str | None = None
    network: Network | None = None
    group_tag: str = "AsgOptimiser"
    instance_role_arns: tuple[str, ...] = ()
    operator_role_arns: tuple[str, ...] = ()
    rule_writer_role_arns: tuple[str, ...] = ()
    kpus: dict[Capability, int] = field(default_factory=lambda: dict.fromkeys(Capability, 1))
    log_retention_days: int = 90
    compute_plan_percent: int = 100
    dry_run: bool = True

    @property
    def reads_changes(self) -> bool:
        """Whether a capability reads the changes of tables."""
        return bool(self.capabilities & {Capability.CAPACITY, Capability.USAGE})


class PackageMissingError(FileNotFoundError):
    """A zip that is to be deployed has not been built."""


def package(deployment: Deployment, name: str) -> Path:
    """The zip of a package.

    Raises:
        PackageMissingError: It has not been built.
    """
    path = deployment.packages / f"{name}.zip"
    if not path.is_file():
        message = f"{path}: not there; build it: headroom package {name} --out {deployment.packages}"
        raise PackageMissingError(message)
    return path


def read_deployment(path: Path) -> Deployment:
    """The deployment in a file.

    Raises:
        DeploymentError: It cannot be read, or holds mistakes.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeploymentError([f"{path}: {error.strerror}"]) from error
    except ValueError as error:
        raise DeploymentError([f"{path}: not TOML: {error}"]) from error
    try:
        return parse_deployment(document)
    except DeploymentError as error:
        raise DeploymentError([f"{path}: {problem}" for problem in error.problems]) from error


def parse_deployment(document: dict[str, Any]) -> Deployment:
    """The deployment that a TOML document describes.

    Raises:
        DeploymentError: There are mistakes in it, all of which are told.
    """
    reading = _Reading(document)
    capabilities = reading.texts("capabilities", [each.value for each in Capability], set(Capability))
    deployment = Deployment(
        name=reading.text("name", "headroom", _NAME) or "",
        capabilities=frozenset(Capability(each) for each in capabilities if each in set(Capability)),
        tables=tuple(reading.texts("tables", [], _TABLE)),
        settings=reading.path("settings"),
        packages=reading.path("packages") or Path("packages"),
        alarm_email=reading.text("alarm_email", None, re.compile(r"[^@\s]+@[^@\s]+")),
        network=reading.network(),
        group_tag=reading.text("group_tag", "AsgOptimiser", _TAG) or "",
        instance_role_arns=tuple(reading.texts("instance_role_arns", [], _ROLE_ARN)),
        operator_role_arns=tuple(reading.texts("operator_role_arns", [], _ROLE_ARN)),
        rule_writer_role_arns=tuple(reading.texts("rule_writer_role_arns", [], _ROLE_ARN)),
        kpus=reading.kpus(),
        log_retention_days=reading.number("log_retention_days", 90, _LONGEST_RETENTION_DAYS),
        compute_plan_percent=reading.number("compute_plan_percent", 100, 100, least=0),
        dry_run=reading.flag("dry_run", default=True),
    )
    reading.finish()
    return deployment


class _Reading:
    """Takes values out of a document, noting what is wrong with them."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._left = dict(document)
        self._problems: list[str] = []

    def finish(self) -> None:
        """Tell everything that was wrong, and what nobody asked for."""
        self._problems += [f"{name}: unknown" for name in self._left]
        if self._problems:
            raise DeploymentError(self._problems)

    def text(self, name: str, default: str | None, form: re.Pattern[str]) -> str | None:
        value = self._left.pop(name, default)
        if value is None or (isinstance(value, str) and form.fullmatch(value)):
            return value
        self._refuse(name, value, f"text like {form.pattern}")
        return default

    def texts(self, name: str, default: list[str], form: re.Pattern[str] | set[Capability]) -> list[str]:
        values = self._left.pop(name, default)
        if not isinstance(values, list):
            self._refuse(name, values, "an array of texts")
            return default
        allowed = ", ".join(sorted(form)) if isinstance(form, set) else f"text like {form.pattern}"
        repeated = {value for value in values if isinstance(value, str) and values.count(value) > 1}
        self._problems += [f"{name}: {value!r} is there more than once" for value in sorted(repeated)]
        for value in values:
            fits = value in form if isinstance(form, set) else isinstance(value, str) and form.fullmatch(value)
            if not fits:
                self._refuse(name, value, allowed)
        return [value for value in values if isinstance(value, str)]

    def path(self, name: str) -> Path | None:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            self._refuse(name, value, "a path")
            return None
        return Path(value) if value else None

    def number(self, name: str, default: int, most: int, *, least: int = 1) -> int:
        value = self._left.pop(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self._refuse(name, value, f"a whole number from {least} to {most}")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            self._refuse(name, value, "true or false")
        return bool(value)

    def kpus(self) -> dict[Capability, int]:
        given = self._left.pop("kpus", {})
        if not isinstance(given, dict):
            self._refuse("kpus", given, "a table")
            given = {}
        inner = _Reading(given)
        # Source of the limit: https://docs.aws.amazon.com/managed-flink/latest/java/limits.html
        found = {each: inner.number(each.value, 1, 64) for each in Capability}
        self._problems += [f"kpus.{problem}" for problem in inner.problems()]
        return found

    def network(self) -> Network | None:
        given = self._left.pop("network", None)
        if given is None:
            return None
        if not isinstance(given, dict):
            self._refuse("network", given, "a table")
            return None
        inner = _Reading(given)
        vpc_id = inner.text("vpc_id", None, re.compile(r"vpc-[0-9a-f]+"))
        subnet_ids = inner.texts("subnet_ids", [], re.compile(r"subnet-[0-9a-f]+"))
        zones = inner.texts("availability_zones", [], re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9][a-z]"))
        self._problems += [f"network.{problem}" for problem in inner.problems()]
        if not vpc_id or len(subnet_ids) < 2 or len(subnet_ids) != len(zones):
            self._problems.append("network: takes vpc_id, at least two subnet_ids, and the availability_zones of them")
            return None
        return Network(vpc_id, tuple(subnet_ids), tuple(zones))

    def problems(self) -> list[str]:
        """What was wrong, for the reading that this one is in."""
        return [*self._problems, *(f"{name}: unknown" for name in self._left)]

    def _refuse(self, name: str, value: object, allowed: str) -> None:
        self._problems.append(f"{name}: {value!r} is not allowed; it takes {allowed}")
