"""Describe: what is true of a fleet, or of one group, asked of EC2 and Auto Scaling in pages."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from lambdas.spot.amazon import Clients
from lambdas.spot.describe_market import DescribeMarket
from lambdas.spot.described import (
    group_of,
    instances_of,
    types_of,
    user_data_sha256,
    volumes_of,
)
from lambdas.spot.equivalence import Details
from lambdas.spot.fleet import ASG_TAG, SWAP_TAG, Group, Instance, TemplateVersion, TypeFacts

GROUPS_PAGE: Final = 100
INSTANCES_PAGE: Final = 1_000
TYPES_PAGE: Final = 100
"""The most that each of them gives at once. Source: API references of EC2 and Auto Scaling."""

_AWS_HOST: Final = ".amazonaws.com"
_NAMED_TYPES: Final = 100
_GROUPED_PAGE: Final = 50
_CHANGING: Final = (
    "CREATE_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "DELETE_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    "IMPORT_IN_PROGRESS",
    "IMPORT_ROLLBACK_IN_PROGRESS",
)
_MOST_FILTER_VALUES: Final = 200  # Source: EC2 User Guide, Using_Filtering
_REFRESHING: Final = frozenset({"Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking"})


class Describe:
    """Questions, none of which changes anything. All raise botocore's errors."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @property
    def market(self) -> DescribeMarket:
        """Questions about prices, commitments and scores."""
        return DescribeMarket(self._clients)

    def tagged_groups(self, tag: str) -> tuple[Group, ...]:
        """All groups that have the tag, in the order of their names."""
        pages = self._clients.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
            Filters=[{"Name": "tag-key", "Values": [tag]}], PaginationConfig={"PageSize": GROUPS_PAGE}
        )
        found = [group_of(one) for page in pages for one in page["AutoScalingGroups"]]
        return tuple(sorted(found, key=lambda group: group.name))

    def groups(self, names: Iterable[str]) -> dict[str, Group]:
        """Those of these groups that exist."""
        found: dict[str, Group] = {}
        names = sorted(set(names))
        for at in range(0, len(names), GROUPS_PAGE):
            answer = self._clients.autoscaling.describe_auto_scaling_groups(
                AutoScalingGroupNames=names[at : at + GROUPS_PAGE], MaxRecords=GROUPS_PAGE
            )
            found |= {one["AutoScalingGroupName"]: group_of(one) for one in answer["AutoScalingGroups"]}
        return found

    def grouped_instances(self) -> dict[str, Instance]:
        """All instances of any group, and all that the actuators launched."""
        return self._instances("tag-key", [ASG_TAG]) | self._instances("tag-key", [SWAP_TAG])

    def launched_instances(self) -> dict[str, Instance]:
        """All instances that the actuators launched."""
        return self._instances("tag-key", [SWAP_TAG])

    def running_instances(self) -> dict[str, Instance]:
        """All running instances of the account."""
        return self._instances("instance-state-name", ["running"])

    def instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        """Those of these instances that exist."""
        return self._instances("instance-id", ids)

    def launched_for(self, swap_ids: Iterable[str]) -> dict[str, Instance]:
        """What was launched for these swaps."""
        return self._instances(f"tag:{SWAP_TAG}", swap_ids)

    def _instances(self, filter_name: str, values: Iterable[str]) -> dict[str, Instance]:
        """Those that a filter finds; without a value it finds none, and is not asked."""
        values = sorted(set(values))
        paginator = self._clients.ec2.get_paginator("describe_instances")
        found: dict[str, Instance] = {}
        for at in range(0, len(values), _MOST_FILTER_VALUES):
            pages = paginator.paginate(
                Filters=[{"Name": filter_name, "Values": values[at : at + _MOST_FILTER_VALUES]}],
                PaginationConfig={"PageSize": INSTANCES_PAGE},
            )
            found |= instances_of(pages)
        return found

    def types(self, names: Iterable[str] | None = None) -> dict[str, TypeFacts]:
        """What these instance types have, or all that are sold as Spot."""
        if names is None:
            pages = self._clients.ec2.get_paginator("describe_instance_types").paginate(
                Filters=[{"Name": "supported-usage-class", "Values": ["spot"]}],
                PaginationConfig={"PageSize": TYPES_PAGE},
            )
            return types_of(pages)
        names = sorted(set(names))
        parts = [names[at : at + _NAMED_TYPES] for at in range(0, len(names), _NAMED_TYPES)]
        return types_of(self._clients.ec2.describe_instance_types(InstanceTypes=part) for part in parts)

    def resolved(self, group: Group) -> tuple[TemplateVersion, str] | None:
        """The version that a group launches from now, by its number, and its image."""
        if group.template is None:
            return None
        answer = self._clients.ec2.describe_launch_template_versions(
            LaunchTemplateId=group.template.template_id, Versions=[group.template.version]
        )
        for one in answer["LaunchTemplateVersions"]:
            image = one["LaunchTemplateData"].get("ImageId", "")
            return replace(group.template, version=str(one["VersionNumber"])), image
        return None

    def changing_stacks(self) -> frozenset[str]:
        """CloudFormation stacks that are being changed."""
        pages = self._clients.cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=_CHANGING)
        return frozenset(one["StackName"] for page in pages for one in page["StackSummaries"])

    def is_stack_changing(self, name: str) -> bool:
        """Whether a CloudFormation stack is being changed; one that is gone is not."""
        try:
            answer = self._clients.cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            if error.response["Error"].get("Code") == "ValidationError":
                return False
            raise
        return any(one["StackStatus"] in _CHANGING for one in answer["Stacks"])

    def is_refreshing(self, group: str) -> bool:
        """Whether an instance refresh of a group is going on."""
        autoscaling = self._clients.autoscaling
        try:
            answer = autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=1)
        except (ClientError, ResponseParserError):
            if _AWS_HOST in autoscaling.meta.endpoint_url:
                raise
            return False  # an emulator that knows no instance refresh has none
        return any(one["Status"] in _REFRESHING for one in answer["InstanceRefreshes"])

    def grouped(self, ids: Iterable[str]) -> dict[str, str]:
        """The groups of those of these instances that are in one, asked of Auto Scaling itself."""
        ids = sorted(set(ids))
        found: dict[str, str] = {}
        for at in range(0, len(ids), _GROUPED_PAGE):
            answer = self._clients.autoscaling.describe_auto_scaling_instances(InstanceIds=ids[at : at + _GROUPED_PAGE])
            found |= {one["InstanceId"]: one["AutoScalingGroupName"] for one in answer["AutoScalingInstances"]}
        return found

    def is_guarded(self, instance_id: str) -> bool:
        """Whether an instance is protected from being ended through the API."""
        answer = self._clients.ec2.describe_instance_attribute(
            InstanceId=instance_id, Attribute="disableApiTermination"
        )
        return bool(answer["DisableApiTermination"]["Value"])

    def passed_checks(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of these instances that have passed both status checks."""
        answer = self._clients.ec2.describe_instance_status(InstanceIds=sorted(ids))
        return frozenset(
            one["InstanceId"]
            for one in answer["InstanceStatuses"]
            if one["InstanceStatus"]["Status"] == "ok" and one["SystemStatus"]["Status"] == "ok"
        )

    def details(self, instance_ids: Iterable[str]) -> dict[str, Details]:
        """What can only be asked of one instance at a time."""
        ids = sorted(instance_ids)
        volumes = self._clients.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": ids}])
        return {
            one: Details(
                user_data_sha256(self._clients.ec2.describe_instance_attribute(InstanceId=one, Attribute="userData")),
                volumes_of(volumes, one),
            )
            for one in ids
        }

    def is_serving(self, group: Group, instance_id: str) -> bool:
        """Whether all load balancers of a group send an instance work."""
        return all(self._is_target_healthy(arn, instance_id) for arn in group.target_groups) and all(
            self._is_in_service(name, instance_id) for name in group.load_balancers
        )

    def _is_target_healthy(self, arn: str, instance_id: str) -> bool:
        answer = self._clients.elbv2.describe_target_health(TargetGroupArn=arn, Targets=[{"Id": instance_id}])
        health = [one["TargetHealth"] for one in answer["TargetHealthDescriptions"]]
        # No listener sends anything to this target group, so there is no health to wait for.
        return bool(health) and all(
            one["State"] == "healthy" or one.get("Reason") == "Target.NotInUse" for one in health
        )

    def _is_in_service(self, name: str, instance_id: str) -> bool:
        try:
            answer = self._clients.elb.describe_instance_health(
                LoadBalancerName=name, Instances=[{"InstanceId": instance_id}]
            )
        except ClientError as error:
            if error.response["Error"].get("Code") == "InvalidInstance":
                return False  # it is not registered yet
            raise
        states = [one["State"] for one in answer["InstanceStates"]]
        return bool(states) and all(state == "InService" for state in states)
