"""The templates hold what the issue asks for: encryption, snapshots, alarms, retention, and no unexplained finding."""

import json
import re
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from connectors.published_metrics import SOURCE_COUNTERS
from infra.deployment import Deployment, DeploymentError, PackageMissingError, package, read_deployment
from infra.ledger_table import COLUMNS, PARTITIONS
from infra.templates import ACCOUNT, REGION, Template, read_templates
from jobs.metric_names import (
    ACTION_DELAY,
    CAPACITY,
    LAG,
    OUTBOX,
    OUTBOX_WAITING,
    RULES,
    SOURCE_LAG,
    SPOT_ACTUATORS,
    SPOT_DECIDED,
    SPOT_READ,
    SUSPEND,
    USAGE,
)
from jobs.settings.load import load_settings
from jobs.settings.properties import LONGEST_KEY, LONGEST_VALUE, MOST_ENTRIES, MOST_GROUPS, from_groups
from jobs.usage.athena import ledger_ddl
from jobs.usage.ledger_rows import SCHEMA
from tests.infra.conftest import ROOT, Synthesized, run_infra
from tests.infra.iam import is_allowed

STACKS = ("shared", "capacity", "usage", "spot")


def test_the_example_has_a_stack_for_each_capability_and_one_shared(templates: Synthesized) -> None:
    assert sorted(templates) == sorted(STACKS)


@pytest.mark.parametrize("capability", ["capacity", "usage", "spot"])
def test_each_capability_can_be_deployed_alone(synthesized: Path, capability: str) -> None:
    names = {path.name.partition(".")[0] for path in (synthesized / capability).glob("*.template.json")}
    assert names == {"headroom-shared", f"headroom-{capability}"}


def test_a_deployment_into_an_existing_network_makes_none(synthesized: Path) -> None:
    (template,) = [each for each in read_templates(synthesized / "capacity") if each.stack == "headroom-capacity"]
    assert template.of_type("AWS::EC2::VPC") == {}
    (cache,) = template.of_type("AWS::ElastiCache::ServerlessCache").values()
    assert cache["SubnetIds"] == ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]


def test_a_package_that_is_not_built_is_named_with_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(PackageMissingError, match=r"spot\.zip: not there; build it: headroom package spot"):
        package(Deployment(packages=tmp_path), "spot")


def test_all_mistakes_in_a_deployment_are_told(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text(
        'name = "X"\ncapabilities = ["cpu"]\ntables = ["a b", "abc", "abc"]\ndry_run = 1\ncolour = 1\n'
        '[kpus]\nspot = 0\nx = 1\n[network]\nvpc_id = "vpc-1"'
    )
    with pytest.raises(DeploymentError) as caught:
        read_deployment(file)
    told = [problem.removeprefix(f"{file}: ").partition(":")[0] for problem in caught.value.problems]
    assert told == ["capabilities", "name", "tables", "tables", "network", "kpus.spot", "kpus.x", "dry_run", "colour"]


def test_the_longest_time_that_logs_may_be_kept_is_one_that_cloudwatch_knows() -> None:
    told = "from infra.parts import retention; print(*(retention(each).name for each in (1, 90, 3650, 3653)))"
    assert run_infra("-c", told).stdout.split() == ["ONE_DAY", "THREE_MONTHS", "TEN_YEARS", "TEN_YEARS"]


def test_the_command_tells_mistakes_without_a_traceback(tmp_path: Path) -> None:
    done = run_infra("-m", "infra.app", tmp_path / "none.toml")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("none.toml: No such file or directory")
    assert "Traceback" not in done.stderr


def test_more_readers_than_there_is_parallelism_are_refused_before_they_are_deployed(
    synthesized: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text("[kinesis]\nsubtasks = 3\n")
    text = f'packages = "{synthesized}"\nsettings = "{tmp_path}/s.toml"\ncapabilities = ["usage"]\n[kpus]\nusage = 2\n'
    (tmp_path / "d.toml").write_text(text)
    done = run_infra("-m", "infra.app", tmp_path / "d.toml", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"infra: {tmp_path}/s.toml: kinesis.subtasks: 3 is above kpus.usage, 2"


def test_a_connector_jar_in_a_package_is_on_the_path_of_its_job_and_its_reader_is_refused_without_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.toml").write_text('[kinesis]\nreader = "aws"\njar = "aws-kinesis.jar"\n')
    (tmp_path / "d.toml").write_text(
        f'packages = "{tmp_path}"\nsettings = "{tmp_path}/s.toml"\ncapabilities = ["usage"]'
    )
    command = ("-m", "infra.app", tmp_path / "d.toml", "--out", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "usage.zip", "w") as archive:
        archive.writestr("main.py", "")
    refused = run_infra(*command)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        f'infra: {tmp_path}/s.toml: kinesis.reader: "aws", and {tmp_path}/usage.zip has no jar: '
        f"headroom package usage --connector-jar FILE --out {tmp_path}"
    )
    with zipfile.ZipFile(tmp_path / "usage.zip", "a") as archive:
        archive.writestr("lib/aws-kinesis.jar", "")
    assert run_infra(*command).returncode == 0
    (template,) = [each for each in read_templates(tmp_path / "out") if each.stack.endswith("usage")]
    (job,) = template.of_type("AWS::KinesisAnalyticsV2::Application").values()
    groups = job["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    (run,) = [each for each in groups if each["PropertyGroupId"] == "kinesis.analytics.flink.run.options"]
    assert run["PropertyMap"]["jarfile"] == "lib/aws-kinesis.jar"


def test_linters_find_nothing(out: Path) -> None:
    command = [Path(sys.executable).with_name("cfn-lint"), *sorted(out.glob("*.template.json"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_finding_that_stands_has_a_reason(out: Path) -> None:
    for path in out.glob("*.template.json"):
        for name, resource in json.loads(path.read_text())["Resources"].items():
            metadata = resource.get("Metadata", {})
            reasons = [each["reason"] for each in metadata.get("cdk_nag", {}).get("rules_to_suppress", [])]
            reasons += [each["comment"] for each in metadata.get("checkov", {}).get("skip", [])]
            assert all(len(reason) > 30 for reason in reasons), name


def test_no_reason_is_given_for_a_finding_that_is_none(templates: Synthesized) -> None:
    told = {
        skipped["id"]
        for template in templates.values()
        for resource in template.resources.values()
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }
    assert told == {"CKV_AWS_18", "CKV_AWS_111", "CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_117"}


@pytest.mark.parametrize("stack", STACKS)
def test_everything_that_holds_data_is_encrypted_with_the_key(templates: Synthesized, stack: str) -> None:
    template = templates[stack]
    keyed = {
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::ElastiCache::ServerlessCache": "KmsKeyId",
        "AWS::Lambda::Function": "KmsKeyArn",
    }
    for kind, name in keyed.items():
        for logical_id, properties in template.of_type(kind).items():
            if logical_id.startswith("AWS679f53"):  # CDK's own function for custom resources holds nothing
                continue
            assert "Key" in str(properties.get(name)), logical_id
    for properties in template.of_type("AWS::Kinesis::Stream").values():
        assert properties["StreamEncryption"]["EncryptionType"] == "KMS"
    for properties in template.of_type("AWS::DynamoDB::Table").values():
        assert properties["SSESpecification"]["SSEType"] == "KMS"
    for name, properties in template.of_type("AWS::S3::Bucket").items():
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        algorithm = rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        assert algorithm == ("AES256" if name.startswith("AccessLogs") else "aws:kms")
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}


@pytest.mark.parametrize("stack", STACKS)
def test_logs_are_kept_for_a_stated_time(templates: Synthesized, stack: str) -> None:
    for name, properties in templates[stack].of_type("AWS::Logs::LogGroup").items():
        assert properties["RetentionInDays"] == 90, name


@pytest.mark.parametrize("stack", STACKS)
def test_every_function_logs_into_a_group_of_the_template(templates: Synthesized, stack: str) -> None:
    groups = set(templates[stack].of_type("AWS::Logs::LogGroup"))
    for name, properties in templates[stack].of_type("AWS::Lambda::Function").items():
        assert properties["LoggingConfig"]["LogGroup"] in groups, name


def test_the_default_security_group_of_a_network_made_here_lets_nothing_through(templates: Synthesized) -> None:
    capacity = templates["capacity"]
    calls = [json.loads(each["Create"]) for each in capacity.of_type("Custom::AWS").values()]
    (network,) = capacity.of_type("AWS::EC2::VPC")
    revoked = {call["action"]: call["parameters"] for call in calls}
    assert set(revoked) == {"revokeSecurityGroupIngress", "revokeSecurityGroupEgress"}
    for parameters in revoked.values():
        assert parameters["GroupId"] == f"{network}.DefaultSecurityGroup"
        assert [each["IpProtocol"] for each in parameters["IpPermissions"]] == ["-1"]
    statements = [
        statement
        for policy in capacity.policies()
        if policy.kind == "identity" and policy.owner.startswith("DefaultGroup")
        for statement in policy.statements
    ]
    own = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{network}.DefaultSecurityGroup"
    other = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-0123456789abcdef0"
    assert is_allowed(statements, "ec2:RevokeSecurityGroupIngress", own)
    for action, group in (("RevokeSecurityGroupIngress", other), ("AuthorizeSecurityGroupIngress", own)):
        assert not is_allowed(statements, f"ec2:{action}", group)


def test_what_runs_on_a_schedule_is_not_made_up_for(templates: Synthesized) -> None:
    configured = templates["spot"].of_type("AWS::Lambda::EventInvokeConfig").values()
    ages = {each["FunctionName"]: each["MaximumEventAgeInSeconds"] for each in configured}
    assert sorted(ages.values()) == [300, 600]
    assert {each["MaximumRetryAttempts"] for each in configured} == {0}
    assert len(templates["spot"].of_type("AWS::Scheduler::Schedule")) == len(ages)


def test_a_function_that_is_not_called_on_its_schedule_any_more_tells_of_it(templates: Synthesized) -> None:
    alarms = templates["spot"].of_type("AWS::CloudWatch::Alarm").values()
    silent = [each for each in alarms if each.get("MetricName") == "Invocations"]
    assert {each["Period"] for each in silent} == {15 * 60, 30 * 60}
    assert {each["TreatMissingData"] for each in silent} == {"breaching"}
    assert {each["ComparisonOperator"] for each in silent} == {"LessThanOrEqualToThreshold"}


@pytest.mark.parametrize("stack", STACKS)
def test_what_holds_state_outlives_its_stack(templates: Synthesized, stack: str) -> None:
    kept = {"AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key"}
    for name, resource in templates[stack].resources.items():
        if resource["Type"] in kept:
            assert resource["DeletionPolicy"] == "Retain", name


@pytest.mark.parametrize("capability", ["capacity", "usage", "spot"])
def test_jobs_run_on_flink_2_3_with_snapshots_and_roll_back_by_themselves(
    templates: Synthesized, capability: str
) -> None:
    (application,) = templates[capability].of_type("AWS::KinesisAnalyticsV2::Application").values()
    configuration = application["ApplicationConfiguration"]
    assert application["RuntimeEnvironment"] == "FLINK-2_3"
    assert configuration["ApplicationSnapshotConfiguration"] == {"SnapshotsEnabled": True}
    assert configuration["ApplicationSystemRollbackConfiguration"] == {"RollbackEnabled": True}
    assert configuration["FlinkApplicationConfiguration"]["CheckpointConfiguration"]["CheckpointingEnabled"] is True
    assert templates[capability].of_type("AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption")


def test_jobs_get_the_settings_of_the_file_as_property_groups(templates: Synthesized) -> None:
    (application,) = templates["capacity"].of_type("AWS::KinesisAnalyticsV2::Application").values()
    listed = application["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    groups = {each["PropertyGroupId"]: each["PropertyMap"] for each in listed}
    assert groups.pop("kinesis.analytics.flink.run.options") == {"python": "main.py", "pyFiles": "dep/"}
    assert len(groups) < MOST_GROUPS
    for entries in groups.values():
        assert 0 < len(entries) <= MOST_ENTRIES
        assert all(len(key) <= LONGEST_KEY and len(value) <= LONGEST_VALUE for key, value in entries.items())
    assert groups.pop("headroom.kinesis")["stream"]
    assert groups.pop("headroom.rules")["stream"]
    assert groups.pop("headroom.sqs")["queue_url"]
    assert from_groups(groups) == load_settings(ROOT / "examples" / "conversations.toml")


def test_a_message_is_out_of_sight_for_six_times_as_long_as_its_function_may_take(templates: Synthesized) -> None:
    # Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    for stack in ("capacity", "spot"):
        template = templates[stack]
        functions = template.of_type("AWS::Lambda::Function")
        mappings = template.of_type("AWS::Lambda::EventSourceMapping").values()
        queues = {
            template.filled({"Fn::GetAtt": [name, "Arn"]}): each
            for name, each in template.of_type("AWS::SQS::Queue").items()
        }
        assert mappings
        for mapping in mappings:
            queue = queues[mapping["EventSourceArn"]]
            assert queue["VisibilityTimeout"] >= 6 * functions[mapping["FunctionName"]]["Timeout"]
            assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_cache_that_is_out_of_reach_rings_though_nobody_else_is_to_be_suspended(templates: Synthesized) -> None:
    # An invocation that did nothing of its batch fails, and the same message comes a visibility timeout later.
    (actions,) = [
        each for name, each in templates["capacity"].of_type("AWS::SQS::Queue").items() if "DeadLetters" not in name
    ]
    (failing,) = alarms_on(templates["capacity"], "Errors")
    tries = failing["DatapointsToAlarm"]
    assert tries <= actions["RedrivePolicy"]["maxReceiveCount"]
    assert (tries - 1) * actions["VisibilityTimeout"] < failing["EvaluationPeriods"] * failing["Period"]


def test_calls_that_fail_ring_though_their_messages_go_back_to_the_queue_without_an_error(
    templates: Synthesized,
) -> None:
    functions = templates["spot"].of_type("AWS::Lambda::Function")
    mappings = templates["spot"].of_type("AWS::Lambda::EventSourceMapping").values()
    handlers = {functions[each["FunctionName"]]["Handler"] for each in mappings}
    services = {handler.split(".")[1].replace("_", "-") for handler in handlers}
    rings = alarms_on(templates["spot"], "CallsFailed")
    assert {each["Dimensions"][0]["Value"] for each in rings} == services
    assert {each["Namespace"] for each in rings} == {"Headroom"}


def test_an_order_to_replace_an_instance_is_brought_back_from_the_queue_that_it_came_from(
    templates: Synthesized,
) -> None:
    template = templates["spot"]
    variables = {
        each["Handler"]: each["Environment"]["Variables"] for each in template.of_type("AWS::Lambda::Function").values()
    }
    told = {
        handler: each["HEADROOM_RETRY_QUEUE"] for handler, each in variables.items() if "HEADROOM_RETRY_QUEUE" in each
    }
    (queue,) = [name for name in template.of_type("AWS::SQS::Queue") if re.fullmatch(r"SpotActions[0-9A-F]{8}", name)]
    assert told == {"lambdas.replace_interrupted.handler": template.filled({"Ref": queue})}


def test_every_rule_of_events_has_a_dead_letter_queue_and_an_age_beyond_which_they_are_useless(
    templates: Synthesized,
) -> None:
    rules = templates["spot"].of_type("AWS::Events::Rule")
    ages = {}
    for name, rule in rules.items():
        (target,) = rule["Targets"]
        assert "EventsUndelivered" in target["DeadLetterConfig"]["Arn"], name
        ages[rule["Name"].rpartition("-")[2]] = target["RetryPolicy"]["MaximumEventAgeInSeconds"]
    assert ages["Interruption"] == 120
    assert set(ages) == {"Interruption", "Rebalance", "InstanceState", "Group", "Health"}


def test_every_function_of_spot_changes_nothing_until_it_is_told_to(templates: Synthesized) -> None:
    functions = templates["spot"].of_type("AWS::Lambda::Function").values()
    assert len(functions) == 5
    assert {each["Environment"]["Variables"]["HEADROOM_DRY_RUN"] for each in functions} == {"true"}


def alarms_on(template: Template, metric: str) -> list[dict[str, Any]]:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    return [each for each in alarms if each.get("MetricName") == metric]


def test_every_alarm_tells_somebody_and_says_where_what_to_do_is_written(templates: Synthesized) -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    alarms = 0
    for template in templates.values():
        for name, alarm in template.of_type("AWS::CloudWatch::Alarm").items():
            alarms += 1
            assert alarm["AlarmActions"], name
            section = alarm["AlarmDescription"].rpartition("docs/operations.md, ")[2].partition("-")[0]
            assert f"**{section}**" in operations, section
    assert alarms > 30


def test_the_cost_estimate_adds_up_and_counts_the_alarms_that_there_are(templates: Synthesized) -> None:
    cost = (
        (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("\n## Cost\n")[2].partition("\n## ")[0]
    )
    estimates = [each.partition("| **in all** |") for each in cost.split("| What | Arithmetic | USD |")[1:]]
    assert len(estimates) == 2
    for (rows, _, total), capability in zip(estimates, ("capacity", "spot"), strict=True):
        amounts = re.findall(r"\| ([0-9.]+) \|$", rows, re.MULTILINE)
        (in_all,) = re.findall(r"\*\*([0-9.]+)\*\*", total.partition("\n")[0])
        assert sum(map(Decimal, amounts)) == Decimal(in_all)
        assert f"{len(templates[capability].of_type('AWS::CloudWatch::Alarm'))} " in re.findall(
            r"([0-9]+ )(?:alarms )?x 0\.10 \+ ", rows
        )


@pytest.mark.parametrize("capability", ["capacity", "usage", "spot"])
def test_whoever_is_called_finds_each_log_and_each_queue_of_what_went_wrong_by_name(out: Path, capability: str) -> None:
    document = json.loads((out / f"headroom-{capability}.template.json").read_text(encoding="utf-8"))
    told = {json.dumps(each["Value"]) for each in document["Outputs"].values()}
    for name, resource in document["Resources"].items():
        kind = resource["Type"]
        is_log = kind == "AWS::Logs::LogGroup" and not name.startswith(("NetworkLogs", "DefaultGroupLogs"))
        if is_log or (kind == "AWS::SQS::Queue" and ("DeadLetters" in name or "Undelivered" in name)):
            assert json.dumps({"Ref": name}) in told, name


OWN = {
    "capacity": {
        "AWS/KinesisAnalytics": {*CAPACITY, *RULES, ACTION_DELAY, LAG, SOURCE_LAG, *OUTBOX, *SOURCE_COUNTERS}
        - {"bytes"},
        "Headroom": set(SUSPEND),
    },
    "usage": {"AWS/KinesisAnalytics": {*USAGE, LAG, SOURCE_LAG, *SOURCE_COUNTERS} - {"bytes"}},
    "spot": {
        "AWS/KinesisAnalytics": {*SPOT_READ, *SPOT_DECIDED, ACTION_DELAY, LAG, SOURCE_LAG, *OUTBOX, *SOURCE_COUNTERS}
        - {"bytes"},
        "Headroom": set(SPOT_ACTUATORS),
    },
}
# Of what AWS itself publishes; sources: the monitoring pages of each service.
AMAZONS = {
    "AWS/Kinesis": {"IncomingRecords", "GetRecords.Success", "GetRecords.IteratorAgeMilliseconds"},
    "AWS/KinesisAnalytics": {
        *("runningTime", "restartingTime", "failingTime", "numRestarts", "numberOfFailedCheckpoints"),
        *("lastCheckpointDuration", "containerCPUUtilization", "containerMemoryUtilization", "heapMemoryUtilization"),
    },
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/Lambda": {"Errors", "Throttles", "Duration", "Invocations"},
    "AWS/DynamoDB": {"FailedToReplicateRecordCount"},
}


FOUND = re.compile(
    r"(?P<formula>DIFF\(SUM|MAX|SUM)\(SEARCH\('"
    r"(?:Namespace=\"(?P<jobs>AWS/KinesisAnalytics)\" Application=\"headroom-\w+\"|\{(?P<lambdas>Headroom),service\}) "
    r"MetricName=\"(?P<name>\w+)\"', '(?:Average|Maximum|Sum)', 60\)\)+"
)
GAUGES = {ACTION_DELAY, LAG, SOURCE_LAG, OUTBOX_WAITING}


def shown_by(template: Template) -> set[tuple[str, str]]:
    """Namespace and name of each metric in the widgets of a template's dashboard."""
    (dashboard,) = template.of_type("AWS::CloudWatch::Dashboard").values()
    found = set()
    for widget in json.loads(dashboard["DashboardBody"])["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], str):
                found.add((metric[0], metric[1]))
            else:
                searched = FOUND.fullmatch(metric[0]["expression"])
                assert searched, metric[0]["expression"]
                found.add((searched["jobs"] or searched["lambdas"], searched["name"]))
                if searched["jobs"]:
                    # A job's counters count from its start.
                    assert searched["formula"] == ("MAX" if searched["name"] in GAUGES else "DIFF(SUM")
    return found


QUERIED = re.compile(
    r"SELECT (?:AVG|MAX)\(\"(\w+)\"\) FROM \"(AWS/KinesisAnalytics)\" WHERE Application = 'headroom-\w+'"
)


def watched_by(alarm: dict[str, Any]) -> set[tuple[str, str]]:
    """Namespace and name of each metric that an alarm is about."""
    if "MetricName" in alarm:
        return {(alarm["Namespace"], alarm["MetricName"])}
    found = set()
    for each in alarm["Metrics"]:
        if metric := each.get("MetricStat", {}).get("Metric"):
            found.add((metric["Namespace"], metric["MetricName"]))
        elif each["Expression"].startswith("SELECT"):
            queried = QUERIED.fullmatch(each["Expression"])
            assert queried, each["Expression"]
            found.add((queried[2], queried[1]))
    return found


@pytest.mark.parametrize("capability", sorted(OWN))
def test_a_dashboard_shows_all_that_is_published_and_nothing_that_is_not(
    templates: Synthesized, capability: str
) -> None:
    ours = {(space, name) for space, names in OWN[capability].items() for name in names}
    amazons = {(space, name) for space, names in AMAZONS.items() for name in names}
    shown = shown_by(templates[capability])
    assert shown - amazons == ours


@pytest.mark.parametrize("capability", sorted(OWN))
def test_every_alarm_is_about_a_metric_that_is_published(templates: Synthesized, capability: str) -> None:
    ours = {(space, name) for space, names in OWN[capability].items() for name in names}
    amazons = {(space, name) for space, names in AMAZONS.items() for name in names}
    for name, alarm in templates[capability].of_type("AWS::CloudWatch::Alarm").items():
        assert watched_by(alarm), name
        assert watched_by(alarm) <= ours | amazons, name


@pytest.mark.parametrize("capability", sorted(OWN))
def test_an_alarm_on_a_counter_rings_when_it_grows_and_not_until_the_next_restart(
    templates: Synthesized, capability: str
) -> None:
    ours = OWN[capability]["AWS/KinesisAnalytics"] - GAUGES
    counters = {("AWS/KinesisAnalytics", name) for name in {*ours, "numberOfFailedCheckpoints"}}
    alarms = templates[capability].of_type("AWS::CloudWatch::Alarm").values()
    on_counters = [each for each in alarms if watched_by(each) & counters]
    assert on_counters
    for alarm in on_counters:
        expressions = {each["Id"]: each["Expression"] for each in alarm.get("Metrics", []) if "Expression" in each}
        grown = [each for each in expressions.values() if each.startswith("DIFF(FILL(")]
        assert grown, alarm["AlarmDescription"]


def test_what_goes_wrong_in_each_job_rings(templates: Synthesized) -> None:
    rings = {
        "capacity": {"rules_refused", "malformed", "retention_gaps"},
        "usage": {"ledger_files", "malformed", "retention_gaps", SOURCE_LAG},
        "spot": {"retention_gaps"},
    }
    for capability, names in rings.items():
        alarms = templates[capability].of_type("AWS::CloudWatch::Alarm").values()
        watched = {name for alarm in alarms for _, name in watched_by(alarm)}
        assert names <= watched, capability


def test_the_cache_has_a_user_that_writes_leases_and_one_that_reads_them(templates: Synthesized) -> None:
    documented = (ROOT / "docs" / "suspend-actuator.md").read_text(encoding="utf-8").splitlines()
    users = templates["capacity"].of_type("AWS::ElastiCache::User").values()
    assert len(users) == 2
    for user in users:
        assert user["AuthenticationMode"] == {"Type": "iam"}
        assert user["AccessString"] in documented
        assert user["UserId"] == user["UserName"] == user["UserName"].lower()


def test_the_ledger_table_works_out_its_partitions(templates: Synthesized) -> None:
    (table,) = templates["usage"].of_type("AWS::Glue::Table").values()
    given = table["TableInput"]
    assert [(each["Name"], each["Type"]) for each in given["StorageDescriptor"]["Columns"]] == list(COLUMNS)
    assert [(each["Name"], each["Type"]) for each in given["PartitionKeys"]] == list(PARTITIONS)
    parameters = given["Parameters"]
    for column, _ in PARTITIONS:
        assert f"projection.{column}.type" in parameters
        assert f"{column}=${{{column}}}/" in parameters["storage.location.template"]


def test_the_ledger_table_has_the_columns_of_the_schema_that_writes_the_files() -> None:
    athena_types = {pyarrow.string(): "string", pyarrow.int64(): "bigint"}
    assert [(field.name, athena_types[field.type]) for field in SCHEMA] == list(COLUMNS)
    ddl = ledger_ddl("s3://bucket/ledger", [], "2026-01-01")
    assert [line.split() for line in ddl.splitlines()[1 : 1 + len(COLUMNS)]] == [
        [f"`{name}`", f"{kind}," if name != COLUMNS[-1][0] else kind] for name, kind in COLUMNS
    ]


def test_the_usage_job_gets_settings_that_it_can_run_with(templates: Synthesized) -> None:
    (application,) = templates["usage"].of_type("AWS::KinesisAnalyticsV2::Application").values()
    given = application["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    settings = from_groups({each["PropertyGroupId"]: each["PropertyMap"] for each in given})
    (table,) = templates["usage"].of_type("AWS::Glue::Table").values()
    assert settings.usage.ledger == table["TableInput"]["StorageDescriptor"]["Location"]
    assert settings.usage.ledger.startswith("s3://")
    assert settings.usage.region == settings.kinesis.region is not None
    assert settings.kinesis.stream
    assert settings.tables == load_settings(ROOT / "examples" / "conversations.toml").tables


def test_only_a_job_that_sends_to_firehose_may(synthesized: Path) -> None:
    for name, may in (("firehose", True), ("usage", False)):
        template = (synthesized / name / "headroom-usage.template.json").read_text(encoding="utf-8")
        assert ("firehose:PutRecordBatch" in template) is may
        assert ("deliverystream/rows" in template) is may


def test_the_whole_policy_is_printed(out: Path) -> None:
    command = [sys.executable, "-m", "infra.policies", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for part in ("SwapInstanceRole", "call ec2:RunInstances", "DENY NobodyElseSends", f"arn:aws:iam::{ACCOUNT}:role/"):
        assert part in done.stdout


def test_without_templates_the_printer_says_how_to_make_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.policies", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "make synth" in done.stderr) == (1, True)
