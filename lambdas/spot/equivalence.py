"""Equivalence: what a twin lacks that its original has. Pure.

A twin is launched from the version of the launch template that its original was launched from, and still it can differ:
the original was changed by hand, the account's defaults were changed, a volume was attached. A twin that lacks anything
never comes into the group.
"""

from dataclasses import dataclass

from lambdas.spot.fleet import Instance
from lambdas.spot.swap import Purpose, Swap

_OWN_TAGS = ("aws:", "headroom:")


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of an instance, as DescribeVolumes has it."""

    device: str
    encrypted: bool
    size_gib: int
    kind: str
    iops: int = 0
    throughput_mibps: int = 0


@dataclass(frozen=True, slots=True)
class Details:
    """What is asked of one instance at a time, and only before it is attached."""

    user_data_sha256: str
    volumes: tuple[Volume, ...]


def lacks(swap: Swap, original: Instance, of_original: Details, twin: Instance, of_twin: Details) -> tuple[str, ...]:
    """What the twin lacks, nothing if it is at least as safe as the original.

    In a roll-out the launch template says what is new; its image, user data, profile and security groups are the ones
    that are wanted, and are not compared.
    """
    found = [*_placement(swap, original, twin), *_metadata(original, twin), *_tags(original, twin)]
    if swap.purpose is not Purpose.ROLL_OUT:
        found += _made_of(original, of_original, twin, of_twin)
    for volume in of_original.volumes:
        found += _volume(volume, next((one for one in of_twin.volumes if one.device == volume.device), None))
    return tuple(found)


def tags_for_twin(original: Instance) -> dict[str, str]:
    """The tags of an original that a twin must have too: all but those that AWS and the actuators set."""
    return {name: value for name, value in original.tags.items() if not name.startswith(_OWN_TAGS)}


def _placement(swap: Swap, original: Instance, twin: Instance) -> list[str]:
    option = swap.option
    return [
        f"{what} is {is_}, not {wanted}"
        for what, is_, wanted in (
            ("purchase", str(twin.purchase), str(option.purchase)),
            ("instance type", twin.instance_type, option.instance_type),
            ("zone", twin.zone, original.zone),
            ("subnet", twin.subnet_id, original.subnet_id),
            ("platform", twin.platform, original.platform),
        )
        if is_ != wanted
    ]


def _made_of(original: Instance, of_original: Details, twin: Instance, of_twin: Details) -> list[str]:
    found = [
        f"{what} is {is_}, not {wanted}"
        for what, is_, wanted in (
            ("image", twin.image_id, original.image_id),
            ("instance profile", twin.profile, original.profile),
            ("security groups", ", ".join(sorted(twin.security_groups)), ", ".join(sorted(original.security_groups))),
        )
        if is_ != wanted
    ]
    if of_original.user_data_sha256 != of_twin.user_data_sha256:
        found.append("user data differs")
    return found


def _metadata(original: Instance, twin: Instance) -> list[str]:
    before, now = original.metadata, twin.metadata
    found = []
    if before.http_tokens == "required" != now.http_tokens:
        found.append("the instance metadata service does not require tokens (IMDSv2)")
    if before.http_endpoint != now.http_endpoint:
        found.append(f"the instance metadata endpoint is {now.http_endpoint}")
    if before.hop_limit != now.hop_limit:
        found.append(f"the hop limit of instance metadata is {now.hop_limit}, not {before.hop_limit}")
    if before.instance_tags != now.instance_tags:
        found.append(f"instance tags in instance metadata are {now.instance_tags}")
    return found


def _tags(original: Instance, twin: Instance) -> list[str]:
    return [
        f"tag {name} is missing or differs"
        for name, value in sorted(tags_for_twin(original).items())
        if twin.tags.get(name) != value
    ]


def _volume(original: Volume, twin: Volume | None) -> list[str]:
    if twin is None:
        return [f"volume {original.device} is missing"]
    found = []
    if original.encrypted and not twin.encrypted:
        found.append(f"volume {original.device} is not encrypted")
    if twin.kind != original.kind:
        found.append(f"volume {original.device} is {twin.kind}, not {original.kind}")
    if (
        twin.size_gib < original.size_gib
        or twin.iops < original.iops
        or twin.throughput_mibps < original.throughput_mibps
    ):
        found.append(f"volume {original.device} is smaller or slower")
    return found
