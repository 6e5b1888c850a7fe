"""What must be denied is denied: the policies in the templates, evaluated call by call."""

from pathlib import Path
from typing import Any

import pytest

from infra.templates import ACCOUNT, REGION, Template, read_templates
from tests.infra.conftest import RULE_WRITER, Synthesized
from tests.infra.iam import is_allowed, is_denied, listed, names

INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0"
TEMPLATE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:launch-template/lt-0123456789abcdef0"
SUBNET = f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-0123456789abcdef0"
IMAGE = f"arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0"
GROUP = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:1-2-3:autoScalingGroupName/fleet"
INSTANCE_ROLE = "arn:aws:iam::123456789012:role/fleet-instance"
FLEET = ("ScanCandidates", "CreateSpot", "SwapInstance", "ReplaceInterrupted", "ReapOrphans")
TAGGED_GROUP = {"autoscaling:ResourceTag/AsgOptimiser": "true"}
OWN_INSTANCE = {"ec2:ResourceTag/headroom:swap": "swap-1"}
FROM_TEMPLATE = {"ec2:LaunchTemplate": TEMPLATE}
LAUNCH = FROM_TEMPLATE | {"aws:RequestTag/headroom:swap": "swap-1"}
LAUNCHERS = {"CreateSpot", "SwapInstance", "ReplaceInterrupted"}


def statements_of(template: Template, role: str) -> list[dict[str, Any]]:
    """What the role whose name begins so may do."""
    found = [
        statement
        for policy in template.policies()
        if policy.kind == "identity" and policy.owner.startswith(f"{role}Role")
        for statement in policy.statements
    ]
    assert found, f"{template.stack} has no role {role}"
    return found


def arn_of(template: Template, kind: str, beginning: str) -> str:
    name = next(each for each in template.of_type(kind) if each.startswith(beginning))
    return str(template.filled({"Fn::GetAtt": [name, "Arn"]}))


# Nobody may do anything without a limit


@pytest.mark.parametrize("stack", ["shared", "capacity", "usage", "spot"])
def test_no_role_has_a_wildcard_for_a_service_or_for_a_call_that_changes_something(
    templates: Synthesized, stack: str
) -> None:
    harmless = ("Describe", "GetProducts", "GetSpotPlacementScores", "ListShards", "ListStacks")
    for policy in templates[stack].policies():
        if policy.kind != "identity":
            continue
        for statement in policy.statements:
            if statement["Effect"] == "Deny":
                continue
            assert not any("*" in action for action in listed(statement["Action"])), policy.owner
            if "*" in listed(statement["Resource"]):
                calls = [action.partition(":")[2] for action in listed(statement["Action"])]
                changing = [call for call in calls if not call.startswith(harmless)]
                # Lambda's network interfaces; the function itself is denied all of EC2, see below.
                assert all(call.endswith(("NetworkInterface", "PrivateIpAddresses")) for call in changing), policy.owner


@pytest.mark.parametrize("stack", ["shared", "capacity", "usage", "spot"])
def test_every_role_is_for_one_service_and_one_function(templates: Synthesized, stack: str) -> None:
    used: list[str] = []
    for properties in templates[stack].of_type("AWS::Lambda::Function").values():
        used.append(properties["Role"])
    for properties in templates[stack].of_type("AWS::KinesisAnalyticsV2::Application").values():
        used.append(properties["ServiceExecutionRole"])
    assert len(used) == len(set(used))
    for policy in templates[stack].policies():
        if policy.kind == "trust":
            principals = [each["Principal"] for each in policy.statements]
            assert all(list(each) == ["Service"] and isinstance(each["Service"], str) for each in principals)


# Jobs


def test_the_capacity_job_reads_one_stream_and_sends_to_one_queue(templates: Synthesized) -> None:
    capacity = templates["capacity"]
    statements = statements_of(capacity, "JobJob")
    queue = arn_of(capacity, "AWS::SQS::Queue", "Actions")
    assert is_allowed(statements, "sqs:SendMessage", arn_of(capacity, "AWS::SQS::Queue", "Actions9"))
    for action, resource in (
        ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:other"),
        ("sqs:ReceiveMessage", queue),
        ("sqs:DeleteMessage", queue),
        ("kinesis:GetRecords", f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/other"),
        ("kinesis:PutRecord", f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/changes"),
        ("dynamodb:Scan", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/conversations"),
        ("dynamodb:PutItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/conversations"),
        ("elasticache:Connect", "*"),
        ("ec2:TerminateInstances", INSTANCE),
        ("iam:PassRole", INSTANCE_ROLE),
        ("s3:PutObject", "arn:aws:s3:::anything/x"),
        ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/other"),
    ):
        assert not is_allowed(statements, action, resource), action


def test_the_key_is_used_by_way_of_a_service_and_never_by_oneself(templates: Synthesized) -> None:
    for template in templates.values():
        for policy in template.policies():
            if policy.kind != "identity":
                continue
            key = f"arn:aws:imported:{REGION}:{ACCOUNT}:Key"
            for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt"):
                resources = [each for one in policy.statements for each in listed(one["Resource"]) if key in each]
                for resource in resources:
                    assert not is_allowed(policy.statements, action, resource), policy.owner
            for action in ("kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "kms:CreateGrant"):
                assert not is_allowed(policy.statements, action, f"{key}Anything")


def test_the_usage_job_writes_below_the_ledger_and_nowhere_else(templates: Synthesized) -> None:
    statements = statements_of(templates["usage"], "JobJob")
    ledger = arn_of(templates["usage"], "AWS::S3::Bucket", "Ledger")
    assert is_allowed(statements, "s3:PutObject", f"{ledger}/ledger/table=t/date=2026-11-20/hour=10/a.parquet")
    for action, resource in (
        ("s3:PutObject", f"{ledger}/other/a.parquet"),
        ("s3:PutObject", "arn:aws:s3:::other/ledger/a.parquet"),
        ("s3:DeleteBucket", ledger),
        ("s3:PutBucketPolicy", ledger),
        ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:any"),
        ("ec2:RunInstances", INSTANCE),
    ):
        assert not is_allowed(statements, action, resource), action


# The suspend actuator


def test_the_suspend_actuator_logs_in_as_itself_and_changes_nothing_else(templates: Synthesized) -> None:
    capacity = templates["capacity"]
    statements = statements_of(capacity, "Suspend")
    logins = [each for each in statements if listed(each["Action"]) == ["elasticache:Connect"]]
    assert [sorted(listed(each["Resource"])) for each in logins] == [
        sorted([f"arn:aws:elasticache:{REGION}:{ACCOUNT}:Actuator", "Cache.ARN"])
    ]
    by_the_function = {"lambda:SourceFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:suspend"}
    assert not is_allowed(statements, "ec2:CreateNetworkInterface", "*", by_the_function)
    assert is_allowed(statements, "ec2:CreateNetworkInterface", "*")
    for action, resource in (
        ("elasticache:Connect", f"arn:aws:elasticache:{REGION}:{ACCOUNT}:Reader"),
        ("elasticache:ModifyUser", f"arn:aws:elasticache:{REGION}:{ACCOUNT}:Actuator"),
        ("sqs:SendMessage", arn_of(capacity, "AWS::SQS::Queue", "Actions9")),
        ("sqs:PurgeQueue", arn_of(capacity, "AWS::SQS::Queue", "Actions9")),
        ("dynamodb:DescribeTable", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/conversations"),
    ):
        assert not is_allowed(statements, action, resource), action


# The fleet


@pytest.mark.parametrize("function", FLEET)
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ec2:TerminateInstances", INSTANCE),
        ("ec2:RunInstances", INSTANCE),
        ("ec2:RunInstances", IMAGE),
        ("ec2:RunInstances", SUBNET),
        ("ec2:CreateTags", INSTANCE),
        ("ec2:DeleteTags", INSTANCE),
        ("ec2:StopInstances", INSTANCE),
        ("ec2:ModifyInstanceAttribute", INSTANCE),
        ("ec2:CreateLaunchTemplateVersion", TEMPLATE),
        ("autoscaling:UpdateAutoScalingGroup", GROUP),
        ("autoscaling:AttachInstances", GROUP),
        ("autoscaling:DetachInstances", GROUP),
        ("autoscaling:SuspendProcesses", GROUP),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", GROUP),
        ("autoscaling:DeleteAutoScalingGroup", GROUP),
        ("autoscaling:CreateOrUpdateTags", GROUP),
        ("iam:PassRole", "arn:aws:iam::123456789012:role/administrator"),
        ("iam:CreateRole", "arn:aws:iam::123456789012:role/any"),
        ("sts:AssumeRole", INSTANCE_ROLE),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:any"),
        ("dynamodb:DeleteTable", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/journal"),
        ("kinesis:GetRecords", f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/any"),
    ],
)
def test_no_actuator_changes_what_carries_no_tag(
    templates: Synthesized, function: str, action: str, resource: str
) -> None:
    assert not is_allowed(statements_of(templates["spot"], function), action, resource)


@pytest.mark.parametrize("function", FLEET)
def test_no_actuator_moves_the_tags_that_its_rights_hang_on(templates: Synthesized, function: str) -> None:
    statements = statements_of(templates["spot"], function)
    for context in ({}, TAGGED_GROUP, OWN_INSTANCE, {"ec2:CreateAction": "CreateVolume"}):
        assert not is_allowed(statements, "autoscaling:CreateOrUpdateTags", GROUP, context)
        assert not is_allowed(statements, "autoscaling:DeleteTags", GROUP, context)
        assert not is_allowed(statements, "ec2:CreateTags", INSTANCE, context)
        assert not is_allowed(statements, "ec2:DeleteTags", INSTANCE, context)


@pytest.mark.parametrize("function", FLEET)
@pytest.mark.parametrize(
    "context",
    [
        {},
        {key: value for key, value in LAUNCH.items() if key != "ec2:LaunchTemplate"},
        {key: value for key, value in LAUNCH.items() if key != "aws:RequestTag/headroom:swap"},
        LAUNCH | {"ec2:LaunchTemplate": f"arn:aws:ec2:{REGION}:999999999999:launch-template/lt-1"},
    ],
)
def test_nothing_is_launched_but_from_a_launch_template_of_this_account_with_our_tag(
    templates: Synthesized, function: str, context: dict[str, str]
) -> None:
    assert not is_allowed(statements_of(templates["spot"], function), "ec2:RunInstances", INSTANCE, context)


def test_only_those_that_drive_swaps_launch_and_only_from_tagged_templates(templates: Synthesized) -> None:
    for function in FLEET:
        statements = statements_of(templates["spot"], function)
        assert is_allowed(statements, "ec2:RunInstances", INSTANCE, LAUNCH) == (function in LAUNCHERS)
    create = statements_of(templates["spot"], "CreateSpot")
    assert is_allowed(create, "ec2:RunInstances", TEMPLATE, {"ec2:ResourceTag/AsgOptimiser": "true"})
    assert not is_allowed(create, "ec2:RunInstances", TEMPLATE, FROM_TEMPLATE)
    assert is_allowed(create, "ec2:RunInstances", IMAGE, FROM_TEMPLATE | {"ec2:IsLaunchTemplateResource": "true"})
    assert not is_allowed(create, "ec2:RunInstances", IMAGE, FROM_TEMPLATE | {"ec2:IsLaunchTemplateResource": "false"})
    assert is_allowed(create, "ec2:CreateTags", INSTANCE, {"ec2:CreateAction": "RunInstances"})


def test_only_the_named_roles_are_passed_and_only_to_ec2(templates: Synthesized) -> None:
    create = statements_of(templates["spot"], "CreateSpot")
    to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert is_allowed(create, "iam:PassRole", INSTANCE_ROLE, to_ec2)
    assert not is_allowed(create, "iam:PassRole", INSTANCE_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"})
    assert not is_allowed(create, "iam:PassRole", f"{INSTANCE_ROLE}-2", to_ec2)
    for function in set(FLEET) - LAUNCHERS:
        statements = statements_of(templates["spot"], function)
        assert not is_allowed(statements, "iam:PassRole", INSTANCE_ROLE, to_ec2)


def test_only_our_own_instances_are_ended(templates: Synthesized) -> None:
    for function in FLEET:
        statements = statements_of(templates["spot"], function)
        may = function != "ScanCandidates"
        assert is_allowed(statements, "ec2:TerminateInstances", INSTANCE, OWN_INSTANCE) == may
        assert not is_allowed(statements, "ec2:TerminateInstances", INSTANCE, {"ec2:ResourceTag/other": "x"})


def test_groups_are_changed_where_they_carry_the_tag(templates: Synthesized) -> None:
    swap = statements_of(templates["spot"], "SwapInstance")
    for action in ("AttachInstances", "DetachInstances", "TerminateInstanceInAutoScalingGroup"):
        assert is_allowed(swap, f"autoscaling:{action}", GROUP, TAGGED_GROUP)
        assert not is_allowed(swap, f"autoscaling:{action}", GROUP, {"autoscaling:ResourceTag/Other": "true"})
    scan = statements_of(templates["spot"], "ScanCandidates")
    assert not is_allowed(scan, "autoscaling:AttachInstances", GROUP, TAGGED_GROUP)


# Queues


def queue_policies(templates: Synthesized) -> list[tuple[str, tuple[dict[str, Any], ...]]]:
    return [
        (f"{policy.stack}/{policy.owner}", policy.statements)
        for template in templates.values()
        for policy in template.policies()
        if policy.kind == "resource" and policy.owner in template.of_type("AWS::SQS::Queue")
    ]


def test_every_queue_refuses_what_does_not_come_by_tls(templates: Synthesized) -> None:
    policies = queue_policies(templates)
    queues = [name for template in templates.values() for name in template.of_type("AWS::SQS::Queue")]
    assert len(policies) == len(queues)
    for name, statements in policies:
        queue = listed(statements[0]["Resource"])[0]
        plain = {"aws:SecureTransport": "false", "aws:PrincipalArn": "arn:aws:iam::1:role/x"}
        for action in ("sqs:SendMessage", "sqs:ReceiveMessage"):
            assert is_denied(statements, "arn:aws:iam::1:role/x", action, queue, plain), name


def test_every_queue_takes_messages_from_those_that_it_names_alone(templates: Synthesized) -> None:
    stranger = f"arn:aws:iam::{ACCOUNT}:role/administrator"
    fed = [each for each in queue_policies(templates) if "DeadLetters" not in each[0] and "Undelivered" not in each[0]]
    assert len(fed) == 4
    for name, statements in fed:
        queue = listed(statements[0]["Resource"])[0]
        by_stranger = {"aws:SecureTransport": "true", "aws:PrincipalArn": stranger}
        assert is_denied(statements, stranger, "sqs:SendMessage", queue, by_stranger), name
        named = [
            principal
            for each in statements
            if each["Effect"] == "Allow"
            for principal in listed(each["Principal"]["AWS"])
        ]
        assert named, name
        for sender in named:
            by_sender = {"aws:SecureTransport": "true", "aws:PrincipalArn": sender}
            assert not is_denied(statements, sender, "sqs:SendMessage", queue, by_sender), name


def test_a_dead_letter_queue_takes_messages_from_its_own_function_and_from_services_alone(
    templates: Synthesized,
) -> None:
    aside = [each for each in queue_policies(templates) if "DeadLetters" in each[0] or "Undelivered" in each[0]]
    assert len(aside) == 5
    by = {"aws:SecureTransport": "true", "aws:PrincipalIsAWSService": "false"}
    refusing = {"SpotActions": "ReplaceInterrupted", "SpotCreator": "CreateSpot", "InstanceSwapper": "SwapInstance"}
    for name, statements in aside:
        queue = listed(statements[0]["Resource"])[0]
        stranger = f"arn:aws:iam::{ACCOUNT}:role/administrator"
        assert is_denied(statements, stranger, "sqs:SendMessage", queue, by | {"aws:PrincipalArn": stranger}), name
        service = {"aws:SecureTransport": "true", "aws:PrincipalIsAWSService": "true"}
        assert not is_denied(statements, "events.amazonaws.com", "sqs:SendMessage", queue, service), name
        function = refusing.get(name.partition("/")[2].partition("DeadLetters")[0])
        if function:
            own = next(each for each in templates["spot"].of_type("AWS::IAM::Role") if each.startswith(function))
            role = f"arn:aws:iam::{ACCOUNT}:role/{own}"
            assert not is_denied(statements, role, "sqs:SendMessage", queue, by | {"aws:PrincipalArn": role}), name


def test_events_are_put_aside_by_the_rules_of_this_stack_alone(templates: Synthesized) -> None:
    statements = next(each for name, each in queue_policies(templates) if "Undelivered" in name)
    allowing = [each for each in statements if each["Effect"] == "Allow"]
    queue = listed(allowing[0]["Resource"])[0]
    ours = {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/headroom-spot-Interruption"}
    of_account = {"aws:SourceAccount": ACCOUNT}
    assert is_allowed(allowing, "sqs:SendMessage", queue, ours | of_account)
    assert not is_allowed(allowing, "sqs:SendMessage", queue, ours | {"aws:SourceAccount": "999999999999"})
    other = {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"}
    assert not is_allowed(allowing, "sqs:SendMessage", queue, other | of_account)


# The key


@pytest.mark.parametrize("service", ["events", "cloudwatch"])
def test_services_that_deliver_into_something_encrypted_may_use_the_key(templates: Synthesized, service: str) -> None:
    (policy,) = [each for each in templates["shared"].policies() if each.owner.startswith("Key")]
    statements = [each for each in policy.statements if each["Principal"] == {"Service": f"{service}.amazonaws.com"}]
    of_account = {"aws:SourceAccount": ACCOUNT}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert is_allowed(statements, action, "*", of_account)
        assert not is_allowed(statements, action, "*", {"aws:SourceAccount": "999999999999"})
    assert not is_allowed(statements, "kms:ScheduleKeyDeletion", "*", of_account)


def test_logs_of_others_are_not_encrypted_with_the_key(templates: Synthesized) -> None:
    (policy,) = [each for each in templates["shared"].policies() if each.owner.startswith("Key")]
    statements = [each for each in policy.statements if "logs" in str(each["Principal"])]
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
    for name, is_ours in (("headroom-spot-ScanCandidatesLogs1-x", True), ("/aws/lambda/other", False)):
        context = {"kms:EncryptionContext:aws:logs:arn": group + name}
        assert is_allowed(statements, "kms:Decrypt", "*", context) == is_ours


# The control stream of rules


def can_write_rules(template: Template, principal: str, own: list[dict[str, Any]]) -> bool:
    """Whether a principal with these statements of its own can put a record: it takes the stream and its key."""
    (stream,) = [each for name, each in template.of_type("AWS::Kinesis::Stream").items() if name.startswith("Rules")]
    key_name = stream["StreamEncryption"]["KeyId"].rpartition(":")[2]
    (policy,) = [each for each in template.policies() if each.owner == key_name]
    context = {"aws:PrincipalArn": principal, "kms:ViaService": f"kinesis.{REGION}.amazonaws.com"}
    put = is_allowed(own, "kinesis:PutRecord", arn_of(template, "AWS::Kinesis::Stream", "Rules"), context)
    if is_denied(policy.statements, principal, "kms:GenerateDataKey", "*", context):
        return False
    named = [each for each in policy.statements if each["Effect"] == "Allow" and names(each, principal)]
    by_key = is_allowed(named, "kms:GenerateDataKey", "*", context)
    by_own = is_allowed(own, "kms:GenerateDataKey", arn_of(template, "AWS::KMS::Key", "Rules"), context)
    return put and (by_key or by_own)


ANYTHING = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
PUTS_RECORDS = [{"Effect": "Allow", "Action": "kinesis:*", "Resource": "*"}]


def test_only_the_named_role_writes_rules_whatever_others_may_do_elsewhere(templates: Synthesized) -> None:
    capacity = templates["capacity"]
    assert can_write_rules(capacity, RULE_WRITER, PUTS_RECORDS)
    assert not can_write_rules(capacity, RULE_WRITER, [])
    for name in ("administrator", "headroom-rules-2", "aws-reserved/sso/AWSReservedSSO_Admin_0"):
        stranger = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        assert not can_write_rules(capacity, stranger, ANYTHING), name
    assert not can_write_rules(capacity, f"arn:aws:iam::{ACCOUNT}:root", ANYTHING)
    assert not can_write_rules(capacity, f"arn:aws:iam::{ACCOUNT}:role/JobJobRole", statements_of(capacity, "JobJob"))


def test_where_no_writer_is_named_nobody_writes_rules(synthesized: Path) -> None:
    (capacity,) = [each for each in read_templates(synthesized / "capacity") if each.stack == "headroom-capacity"]
    assert not can_write_rules(capacity, RULE_WRITER, ANYTHING)


def test_the_key_of_the_rules_stays_in_the_hands_of_the_account_and_lets_the_job_read(templates: Synthesized) -> None:
    capacity = templates["capacity"]
    (policy,) = [each for each in capacity.policies() if each.owner.startswith("RulesKey")]
    root = f"arn:aws:iam::{ACCOUNT}:root"
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DescribeKey", "kms:Decrypt"):
        context = {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/deployer"}
        assert is_allowed([each for each in policy.statements if names(each, root)], action, "*", context), action
    key = arn_of(capacity, "AWS::KMS::Key", "Rules")
    by_kinesis = {"kms:ViaService": f"kinesis.{REGION}.amazonaws.com"}
    assert is_allowed(statements_of(capacity, "JobJob"), "kms:Decrypt", key, by_kinesis)


# The evaluator


def test_the_evaluator_finds_what_is_wrong() -> None:
    anything = {"Effect": "Allow", "Action": ["ec2:Run*"], "Resource": "arn:aws:ec2:*"}
    assert is_allowed([anything], "ec2:RunInstances", INSTANCE)
    assert not is_allowed([anything], "ec2:TerminateInstances", INSTANCE)
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Null": {"aws:RequestTag/a": "true"}}}
    assert not is_allowed([anything, deny], "ec2:RunInstances", INSTANCE)
    assert is_allowed([anything, deny], "ec2:RunInstances", INSTANCE, {"aws:RequestTag/a": ""})
    with pytest.raises(KeyError):
        is_allowed([anything | {"Condition": {"IpAddress": {}}}], "ec2:RunInstances", INSTANCE)
