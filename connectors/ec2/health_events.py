"""Health events: scheduled changes of instances, as AWS Health announces them. Pure."""

from typing import Final

from connectors.ec2.envelope import NotOursError, read_envelope, read_instance_id, read_name
from connectors.ec2.events import HealthStatus, ScheduledChange
from connectors.ec2.identifiers import ACCOUNT, REGION
from connectors.ec2.times import rfc_1123_ms
from connectors.fields import Fields, shown

_OURS_OF_HEALTH: Final = (("service", "EC2"), ("eventTypeCategory", "scheduledChange"))


def scheduled_change(fields: Fields, detail: Fields) -> ScheduledChange:
    """A scheduled change of instances; any other Health event is not ours."""
    for name, wanted in _OURS_OF_HEALTH:
        if detail.text(name) != wanted:
            reason = f"not ours: a Health event whose {name} is {shown(detail.text(name))}"
            raise NotOursError(reason)
    instance_ids = _affected_instances(detail)
    envelope = read_envelope(fields)
    # The envelope has the account and the Region it was delivered to: for an organization, or as a backup, not those
    # it is about.
    if detail.has("affectedAccount"):
        envelope["account"] = detail.matching("affectedAccount", ACCOUNT, "an account of 12 digits")
    if detail.has("eventRegion"):
        envelope["region"] = detail.matching("eventRegion", REGION, "a Region")
    return ScheduledChange(
        **envelope,
        health_event=detail.text("eventArn"),
        event_type=read_name(detail, "eventTypeCode"),
        status=detail.optional(lambda name: detail.word(name, HealthStatus), "statusCode"),
        starts_at_ms=detail.parsed("startTime", rfc_1123_ms),
        ends_at_ms=detail.optional(lambda name: detail.parsed(name, rfc_1123_ms), "endTime"),
        instance_ids=instance_ids,
    )


def _affected_instances(detail: Fields) -> tuple[str, ...]:
    # Dedicated Hosts and Reserved Instances are entities of EC2 too.
    entities = detail.optional(detail.objects, "affectedEntities") or []
    instances = [entity for entity in entities if entity.text("entityValue").startswith("i-")]
    if not instances:
        reason = "not ours: a Health event about no instance"
        raise NotOursError(reason)
    return tuple(dict.fromkeys(read_instance_id(entity, "entityValue") for entity in instances))
