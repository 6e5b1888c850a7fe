"""Act: the only place that changes anything in EC2 and Auto Scaling."""

from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import ClientError

from connectors.spot_facts import Purchase
from lambdas.spot.amazon import CALL_FAILED, AmazonError, Clients, Refusal, amazon_error
from lambdas.spot.equivalence import tags_for_twin
from lambdas.spot.fleet import GROUP_TAG, SWAP_TAG, TYPE_TAG, Instance
from lambdas.spot.observed import Observed
from lambdas.spot.saga_step import Call, Intent
from lambdas.spot.swap import Swap

_GONE: Final = ("InvalidInstanceID.NotFound",)
_WOULD_DO: Final = "DryRunOperation"
_ALREADY: Final = ("already part of",)
"""What Auto Scaling says of an instance that has been attached. It gives no code of its own for it."""


class Act:
    """Calls for intents that the journal has already."""

    def __init__(self, clients: Clients) -> None:
        self._ec2 = clients.ec2
        self._autoscaling = clients.autoscaling

    def call(self, intent: Intent, group: str, seen: Observed) -> str | None:
        """Makes the call. For a launch, the id of the instance.

        Raises:
            AmazonError: It failed. It may have taken effect nevertheless, if only its answer was lost.
        """
        calls: dict[Call, Callable[[], str | None]] = {
            Call.LAUNCH: lambda: self._launch(_swap(intent), group, seen),
            Call.END_TWIN: lambda: self.end(_instance(intent)),
            Call.RAISE_MAX_SIZE: lambda: self._set_max_size(group, _size(intent)),
            Call.RESTORE_MAX_SIZE: lambda: self._set_max_size(group, _size(intent)),
            Call.ATTACH: lambda: self._attach(group, _instance(intent)),
            Call.END_ORIGINAL: lambda: self._end_member(_instance(intent)),
            Call.REMOVE_TWIN: lambda: self._remove_member(group, _instance(intent)),
            Call.LOWER_DESIRED: lambda: self._set_desired(group, _size(intent)),
        }
        try:
            return calls[intent.call]()
        except CALL_FAILED as error:
            raise amazon_error(error, intent.call) from error

    def end(self, instance_id: str) -> None:
        """Ends an instance that is in no group; one that is gone is no error."""
        try:
            self._ec2.terminate_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error.response["Error"].get("Code") not in _GONE:
                raise

    def rehearse(self, intent: Intent, group: str, seen: Observed) -> bool:
        """Whether EC2 said that it would make the call; False where it knows no rehearsal of it.

        Source: EC2 API Reference, CommonParameters, DryRun: the answer to a call that would do is an error too.

        Raises:
            AmazonError: EC2 would refuse it, or did not answer.
        """
        try:
            if intent.call is Call.LAUNCH:
                self._ec2.run_instances(**self._request(_swap(intent), group, seen), DryRun=True)
            elif intent.call is Call.END_TWIN:
                self._ec2.terminate_instances(InstanceIds=[_instance(intent)], DryRun=True)
        except ClientError as error:
            if error.response["Error"].get("Code") not in (_WOULD_DO, *_GONE):
                raise amazon_error(error, intent.call) from error
            return True
        except CALL_FAILED as error:
            raise amazon_error(error, intent.call) from error
        return False

    def _launch(self, swap: Swap, group: str, seen: Observed) -> str:
        launched: str = self._ec2.run_instances(**self._request(swap, group, seen))["Instances"][0]["InstanceId"]
        return launched

    def _request(self, swap: Swap, group: str, seen: Observed) -> dict[str, Any]:
        original = seen.instances[swap.original_id]
        tags = {**tags_for_twin(original), **_own_tags(swap, original, group)}
        request: dict[str, Any] = {
            "ClientToken": swap.client_token,
            "MinCount": 1,
            "MaxCount": 1,
            "LaunchTemplate": {"LaunchTemplateId": swap.template.template_id, "Version": swap.template.version},
            "InstanceType": swap.option.instance_type,
            **self._network(swap),
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": name, "Value": value} for name, value in sorted(tags.items())],
                }
            ],
        }
        if swap.option.purchase is Purchase.SPOT:
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
        return request

    def _network(self, swap: Swap) -> dict[str, Any]:
        """The subnet, where EC2 takes it: with the network interfaces of the launch template, if it has any."""
        answer = self._ec2.describe_launch_template_versions(
            LaunchTemplateId=swap.template.template_id, Versions=[swap.template.version]
        )
        data = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        interfaces = data.get("NetworkInterfaces", [])
        if not interfaces:
            return {"SubnetId": swap.subnet_id}
        return {"NetworkInterfaces": [{**interface, "SubnetId": swap.subnet_id} for interface in interfaces]}

    def _set_max_size(self, group: str, size: int) -> None:
        self._autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, MaxSize=size)

    def _set_desired(self, group: str, size: int) -> None:
        self._autoscaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=size, HonorCooldown=False)

    def _attach(self, group: str, instance_id: str) -> None:
        try:
            self._autoscaling.attach_instances(AutoScalingGroupName=group, InstanceIds=[instance_id])
        except ClientError as error:
            if not any(words in error.response["Error"].get("Message", "") for words in _ALREADY):
                raise

    def _end_member(self, instance_id: str) -> None:
        self._autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        )

    def _remove_member(self, group: str, instance_id: str) -> None:
        try:
            self._end_member(instance_id)
        except ClientError as error:
            if amazon_error(error).refusal is not Refusal.DENIED:
                raise
            # The right that a swap lacks at its last step must not leave it half done.
            self._autoscaling.detach_instances(
                AutoScalingGroupName=group, InstanceIds=[instance_id], ShouldDecrementDesiredCapacity=True
            )


def _own_tags(swap: Swap, original: Instance, group: str) -> dict[str, str]:
    return {SWAP_TAG: swap.swap_id, GROUP_TAG: group, TYPE_TAG: original.stands_for}


def _swap(intent: Intent) -> Swap:
    if intent.swap is None:
        raise AmazonError(Refusal.REFUSED, intent.call, "NoSwap", "the intent names no swap")
    return intent.swap


def _instance(intent: Intent) -> str:
    if intent.instance_id is None:
        raise AmazonError(Refusal.REFUSED, intent.call, "NoInstance", "the intent names no instance")
    return intent.instance_id


def _size(intent: Intent) -> int:
    if intent.size is None:
        raise AmazonError(Refusal.REFUSED, intent.call, "NoSize", "the intent names no size")
    return intent.size
