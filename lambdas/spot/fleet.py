"""Fleet: groups, instances and what they cost, as the actuators know them. Pure.

Names are those of EC2 and Auto Scaling. What a scan cannot see in pages (user data, volumes, API termination
protection) is not here, but in `lambdas.spot.equivalence`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from connectors.ec2.events import InstanceState
from connectors.prices import Prices
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase

SWAP_TAG: Final = "headroom:swap"
"""On every instance that the actuators launch: the swap it was launched for."""

GROUP_TAG: Final = "headroom:group"
"""On every instance that the actuators launch: the group it was launched for."""

TYPE_TAG: Final = "headroom:type"
"""On every instance that the actuators launch: the instance type that its group had in its place at first."""

ASG_TAG: Final = "aws:autoscaling:groupName"
"""On every instance that is, or was, in a group; Auto Scaling sets it, and nobody else can."""

SHARED_TENANCY: Final = "default"
"""`Placement.Tenancy` of an instance on hardware that others use too, as nearly all are."""

IN_SERVICE: Final = "InService"
ENDED: Final = frozenset({InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED})


class Market(StrEnum):
    """What the Spot capacity of a pool is good for, as the spot job judges it."""

    ARMED = "armed"
    SUSPECT = "suspect"
    FALLBACK = "fallback"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True, order=True)
class Pool:
    """Spot capacity that comes and goes as one: an instance type in an Availability Zone."""

    instance_type: str
    zone: str


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a launch template; `version` is a number, or `$Latest` or `$Default`."""

    template_id: str
    version: str


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """How the instance metadata service may be asked."""

    http_tokens: str = "optional"
    http_endpoint: str = "enabled"
    hop_limit: int = 1
    instance_tags: str = "disabled"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as DescribeInstances has it.

    Attributes:
        purchase: On-Demand or Spot; what is covered by a commitment is On-Demand to EC2.
        platform: `PlatformDetails`, which is what prices go by.
        profile: the ARN of its instance profile.
        security_groups: their ids.
        tenancy: `default`, `dedicated` or `host`.
    """

    instance_id: str
    instance_type: str
    zone: str
    subnet_id: str
    image_id: str
    purchase: Purchase
    state: InstanceState
    launched_at_ms: int
    platform: str = DEFAULT_PLATFORM
    profile: str | None = None
    security_groups: frozenset[str] = frozenset()
    metadata: MetadataOptions = MetadataOptions()
    tenancy: str = SHARED_TENANCY
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def swap_id(self) -> str | None:
        """The swap that launched it, if the actuators did."""
        return self.tags.get(SWAP_TAG)

    @property
    def launched_for(self) -> str | None:
        """The group it was launched for, if the actuators did."""
        return self.tags.get(GROUP_TAG)

    @property
    def stands_for(self) -> str:
        """The type that its group had in its place before the actuators launched one that cost less there.

        What comes after it is measured by that type: a larger one would else become larger with each swap.
        """
        return self.tags.get(TYPE_TAG, self.instance_type)

    @property
    def as_at_first(self) -> "Instance":
        """The same as if it were of the type that it stands for."""
        return replace(self, instance_type=self.stands_for)

    @property
    def pool(self) -> Pool:
        """The pool whose capacity it is of."""
        return Pool(self.instance_type, self.zone)


@dataclass(frozen=True, slots=True)
class Member:
    """An instance in a group, as Auto Scaling has it; `lifecycle` is its lifecycle state."""

    instance_id: str
    lifecycle: str
    healthy: bool
    protected_from_scale_in: bool = False
    template: TemplateVersion | None = None

    @property
    def serves(self) -> bool:
        """Whether it counts as healthy capacity of its group."""
        return self.healthy and self.lifecycle == IN_SERVICE

    @property
    def leaves(self) -> bool:
        """Whether it is on its way out of the group."""
        return self.lifecycle.startswith(("Terminat", "Detach"))


@dataclass(frozen=True, slots=True)
class Group:
    """An Auto Scaling group.

    Attributes:
        members: its instances, those of a warm pool left out.
        template: the launch template that it launches from; None for a launch configuration.
        on_demand_percentage: what its mixed instances policy has above its base; None without such a policy.
        weighted: whether instances count by weight, so that capacity is not a number of instances.
        suspended: processes that are suspended.
        stack: the CloudFormation stack that it belongs to.
        deleting: whether it is being deleted.
    """

    name: str
    min_size: int
    max_size: int
    desired: int
    members: tuple[Member, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    template: TemplateVersion | None = None
    on_demand_percentage: int | None = None
    weighted: bool = False
    capacity_rebalance: bool = False
    suspended: frozenset[str] = frozenset()
    target_groups: tuple[str, ...] = ()
    load_balancers: tuple[str, ...] = ()
    stack: str | None = None
    deleting: bool = False

    def member(self, instance_id: str | None) -> Member | None:
        """The member with this id, if there is one."""
        return next((member for member in self.members if member.instance_id == instance_id), None)

    def serving_without(self, instance_id: str | None) -> int:
        """How many members serve, this one not counted."""
        return sum(member.serves for member in self.members if member.instance_id != instance_id)


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What an instance type has. Throughput is the baseline to EBS."""

    instance_type: str
    architectures: frozenset[str]
    vcpus: int
    memory_mib: int
    gpus: int = 0
    storage_gb: int = 0
    ebs_mbps: float = 0
    burstable: bool = False
    bare_metal: bool = False
    spot: bool = True

    def at_least(self, other: "TypeFacts") -> bool:
        """Whether it can take the place of the other: what runs there runs here, with nothing less."""
        return bool(
            self.architectures & other.architectures
            and self.vcpus >= other.vcpus
            and self.memory_mib >= other.memory_mib
            and self.gpus >= other.gpus
            and self.storage_gb >= other.storage_gb
            and self.ebs_mbps >= other.ebs_mbps
            and self.bare_metal == other.bare_metal
            and (other.burstable or not self.burstable)
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that a scan sees at one time.

    Attributes:
        groups: the groups with the tag, in the order of their names.
        instances: the instances of these groups, and all that the actuators launched.
        types: what is known of instance types.
        prices: On-Demand prices, and the newest Spot price of each pool.
        markets: what the spot job last said of a pool; a pool that it never spoke of is armed.
        images: the image of each version of a launch template that a group launches from.
        changing_stacks: CloudFormation stacks that are being changed.
    """

    account: str
    region: str
    at_ms: int
    groups: tuple[Group, ...]
    instances: Mapping[str, Instance]
    types: Mapping[str, TypeFacts]
    prices: Prices
    markets: Mapping[Pool, Market] = field(default_factory=dict)
    images: Mapping[TemplateVersion, str] = field(default_factory=dict)
    changing_stacks: frozenset[str] = frozenset()

    def market(self, pool: Pool) -> Market:
        """The market of a pool."""
        return self.markets.get(pool, Market.ARMED)

    def on_demand_price(self, instance_type: str, platform: str) -> Decimal | None:
        """What an hour of a type costs On-Demand, if it is known."""
        return self.prices.on_demand(region=self.region, instance_type=instance_type, platform=platform)

    def spot_price(self, pool: Pool, platform: str) -> Decimal | None:
        """What an hour in a pool costs now, if it is known."""
        return self.prices.spot(zone=pool.zone, instance_type=pool.instance_type, platform=platform, at_ms=self.at_ms)

    def price_of(self, instance: Instance) -> Decimal | None:
        """What an hour of an instance costs now, if it is known."""
        if instance.purchase is Purchase.SPOT:
            return self.spot_price(instance.pool, instance.platform)
        return self.on_demand_price(instance.instance_type, instance.platform)

    def serving(self, group: Group, purchase: Purchase) -> list[tuple[Member, Instance]]:
        """The members of a group that serve and are paid for in this way, the oldest first."""
        found = [
            (member, instance)
            for member in group.members
            if member.serves
            and (instance := self.instances.get(member.instance_id)) is not None
            and instance.purchase is purchase
            and instance.state is InstanceState.RUNNING
        ]
        return sorted(found, key=lambda pair: (pair[1].launched_at_ms, pair[1].instance_id))
