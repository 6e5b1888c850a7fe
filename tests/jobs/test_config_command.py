import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobs.config_command import config
from jobs.settings import Settings, load_settings, schema

# All that are neither in a rule nor in a table; and those that have a value without being given one.
OUTSIDE = [setting for setting in schema.settings() if not set("[<") & set(setting.path)]
EVERY = len(OUTSIDE)
SHOWN = sum(setting.field.default is not None for setting in OUTSIDE)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(config, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headroom.toml"


def test_check_of_a_good_file_says_what_it_gives(file: Path) -> None:
    file.write_text('[window]\nsize = "1m"\n[limits]\ndefault_wcu = 5\n')
    result = run("check", file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{file}: ok, 2 settings given, {EVERY - 2} left at their defaults\n"


def test_check_counts_one_setting_as_one(file: Path) -> None:
    file.write_text("shadow = true")
    assert run("check", file).stdout == f"{file}: ok, 1 setting given, {EVERY - 1} left at their defaults\n"


def test_check_tells_every_problem_on_its_own_line_then_their_number(file: Path) -> None:
    file.write_text('[window]\nsise = "1m"\nstep = 5\n[limits]\ndefault_wcu = 0\n')
    result = run("check", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"{file}: unknown setting window.sise; did you mean window.size?",
        f'{file}: window.step: 5 has no unit; write "5s"',
        f"{file}: limits.default_wcu: 0 is not allowed; it takes a whole number from 1 to 1000000000000",
        "3 problems found",
    ]


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_missing_file_is_one_problem(command: str, file: Path) -> None:
    result = run(command, file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{file}: no such file\n1 problem found\n"


def test_show_prints_a_file_that_gives_the_same_settings(file: Path) -> None:
    file.write_text('[[limits.rules]]\ntable = "a.b"\npartition_key = "\\"ü*"\nexempt = true\n[tables."a.b"]\n')
    shown = file.with_name("shown.toml")
    shown.write_text(run("show", file).stdout, encoding="utf-8")
    assert load_settings(shown) == load_settings(file)


def test_show_without_a_file_prints_the_defaults_marked_as_such(file: Path) -> None:
    result = run("show")
    assert result.exit_code == 0
    values = [line for line in result.stdout.splitlines() if "=" in line]
    assert len(values) == SHOWN
    assert all(line.endswith("  # default") for line in values)
    file.write_text(result.stdout)
    assert load_settings(file) == Settings()


def test_show_as_json_has_the_names_and_durations_of_toml(file: Path) -> None:
    file.write_text('[[limits.rules]]\ntable = "a"\nwcu = 5\n[tables.b]\n')
    result = run("show", file, "--format", "json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown.pop("spot")["market"]["soak"] == "12m"
    assert shown == {
        "shadow": False,
        "window": {"size": "2m", "step": "5s", "kind": "cumulate", "out_of_orderness": "2s"},
        "limits": {
            "default_wcu": 6000,
            "warn_ratio": 0.8,
            "rules": [{"table": "a", "partition_key": None, "wcu": 5, "exempt": False}],
        },
        "lease": {"steps": ["2m", "5m", "10m"], "decay": "1h"},
        "decode": {"weigh_images": "when_needed", "future_tolerance": "1h"},
        "usage": {
            "horizon": "1d",
            "sink": "parquet",
            "ledger": "headroom-ledger",
            "delivery_stream": "headroom-usage",
            "region": None,
            "endpoint_url": None,
            "file_span": "15m",
            "buckets": 4,
        },
        "kinesis": {
            "stream": None,
            "region": None,
            "endpoint_url": None,
            "initial_position": "latest",
            "reader": "python",
            "jar": None,
            "poll_interval": "250ms",
            "margin": "1s",
            "subtasks": 1,
            "discovery_interval": "10s",
            "max_drift": "30s",
        },
        "sqs": {"queue_url": None, "region": None, "endpoint_url": None},
        "rules": {"file": None, "stream": None, "check": "5s", "lowest_warn_wcu": 1000},
        "tables": {"b": {"partition_key": None, "transactional": False}},
    }


@pytest.mark.parametrize("command", ["check", "show"])
def test_help_has_examples_a_line_each(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  headroom config {command} headroom.toml\n" in result.stdout
