"""Described: the fleet's values out of what EC2 and Auto Scaling answer. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.ec2.events import InstanceState
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.spot.equivalence import Volume
from lambdas.spot.fleet import SHARED_TENANCY, Group, Instance, Member, MetadataOptions, TemplateVersion, TypeFacts

_STACK_TAG = "aws:cloudformation:stack-name"

Answer = Mapping[str, Any]


def group_of(answer: Answer) -> Group:
    """A group of DescribeAutoScalingGroups."""
    policy = answer.get("MixedInstancesPolicy") or {}
    template = answer.get("LaunchTemplate") or policy.get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
    tags = {tag["Key"]: tag.get("Value", "") for tag in answer.get("Tags", [])}
    return Group(
        name=answer["AutoScalingGroupName"],
        min_size=answer["MinSize"],
        max_size=answer["MaxSize"],
        desired=answer["DesiredCapacity"],
        members=tuple(
            _member(one) for one in answer.get("Instances", []) if not one["LifecycleState"].startswith("Warmed")
        ),
        tags=tags,
        template=_template(template),
        on_demand_percentage=_on_demand_percentage(policy),
        weighted=any(override.get("WeightedCapacity", "1") != "1" for override in overrides),
        capacity_rebalance=bool(answer.get("CapacityRebalance")),
        suspended=frozenset(one["ProcessName"] for one in answer.get("SuspendedProcesses", [])),
        target_groups=tuple(answer.get("TargetGroupARNs", [])),
        load_balancers=tuple(answer.get("LoadBalancerNames", [])),
        stack=tags.get(_STACK_TAG),
        deleting="Status" in answer,  # Auto Scaling API Reference, AutoScalingGroup: only while it is being deleted
    )


def _on_demand_percentage(policy: Answer) -> int | None:
    if not policy:
        return None
    # Auto Scaling API Reference, InstancesDistribution: 100 where it is not said.
    return int(policy.get("InstancesDistribution", {}).get("OnDemandPercentageAboveBaseCapacity", 100))


def _member(answer: Answer) -> Member:
    return Member(
        instance_id=answer["InstanceId"],
        lifecycle=answer["LifecycleState"],
        healthy=answer["HealthStatus"].lower() == "healthy",
        protected_from_scale_in=bool(answer.get("ProtectedFromScaleIn")),
        template=_template(answer.get("LaunchTemplate")),
    )


def _template(answer: Answer | None) -> TemplateVersion | None:
    if not answer or not answer.get("LaunchTemplateId"):
        return None
    return TemplateVersion(answer["LaunchTemplateId"], str(answer.get("Version") or "$Default"))


def instances_of(pages: Iterable[Answer]) -> dict[str, Instance]:
    """The instances of pages of DescribeInstances."""
    return {
        one["InstanceId"]: _instance(one)
        for page in pages
        for reservation in page["Reservations"]
        for one in reservation["Instances"]
    }


def _instance(answer: Answer) -> Instance:
    metadata = answer.get("MetadataOptions") or {}
    return Instance(
        instance_id=answer["InstanceId"],
        instance_type=answer["InstanceType"],
        zone=answer["Placement"]["AvailabilityZone"],
        subnet_id=answer.get("SubnetId", ""),
        image_id=answer["ImageId"],
        purchase=Purchase.SPOT if answer.get("InstanceLifecycle") == "spot" else Purchase.ON_DEMAND,
        state=InstanceState(answer["State"]["Name"]),
        launched_at_ms=int(answer["LaunchTime"].timestamp() * 1_000),
        platform=answer.get("PlatformDetails") or DEFAULT_PLATFORM,
        profile=(answer.get("IamInstanceProfile") or {}).get("Arn"),
        security_groups=frozenset(one["GroupId"] for one in answer.get("SecurityGroups", [])),
        metadata=MetadataOptions(
            http_tokens=metadata.get("HttpTokens", "optional"),
            http_endpoint=metadata.get("HttpEndpoint", "enabled"),
            hop_limit=metadata.get("HttpPutResponseHopLimit", 1),
            instance_tags=metadata.get("InstanceMetadataTags", "disabled"),
        ),
        tenancy=answer["Placement"].get("Tenancy") or SHARED_TENANCY,
        tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
    )


def types_of(pages: Iterable[Answer]) -> dict[str, TypeFacts]:
    """The instance types of pages of DescribeInstanceTypes."""
    return {one["InstanceType"]: _type(one) for page in pages for one in page["InstanceTypes"]}


def _type(answer: Answer) -> TypeFacts:
    gpus = (answer.get("GpuInfo") or {}).get("Gpus", [])
    ebs = (answer.get("EbsInfo") or {}).get("EbsOptimizedInfo") or {}
    return TypeFacts(
        instance_type=answer["InstanceType"],
        architectures=frozenset(answer["ProcessorInfo"]["SupportedArchitectures"]),
        vcpus=answer["VCpuInfo"]["DefaultVCpus"],
        memory_mib=answer["MemoryInfo"]["SizeInMiB"],
        gpus=sum(gpu.get("Count", 0) for gpu in gpus),
        storage_gb=(answer.get("InstanceStorageInfo") or {}).get("TotalSizeInGB", 0),
        ebs_mbps=ebs.get("BaselineBandwidthInMbps", 0),
        burstable=bool(answer.get("BurstablePerformanceSupported")),
        bare_metal=bool(answer.get("BareMetal")),
        spot="spot" in answer.get("SupportedUsageClasses", ["on-demand", "spot"]),
    )


def volumes_of(answer: Answer, instance_id: str) -> tuple[Volume, ...]:
    """The volumes of an instance, of an answer of DescribeVolumes."""
    return tuple(
        Volume(
            device=attachment["Device"],
            encrypted=bool(one.get("Encrypted")),
            size_gib=one["Size"],
            kind=one["VolumeType"],
            iops=one.get("Iops") or 0,
            throughput_mibps=one.get("Throughput") or 0,
        )
        for one in answer["Volumes"]
        for attachment in one["Attachments"]
        if attachment["InstanceId"] == instance_id
    )


def user_data_sha256(answer: Answer) -> str:
    """The hash of what DescribeInstanceAttribute says is an instance's user data."""
    return hashlib.sha256((answer.get("UserData") or {}).get("Value", "").encode()).hexdigest()
