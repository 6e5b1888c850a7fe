"""`headroom tune` on a usage ledger: what it says equals what a step of a minute says of the changes themselves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobs.cli import cli
from jobs.consumption.ledger import read_ledgers
from jobs.generate import Misbehaving, Profile, records
from jobs.settings import WindowKind
from jobs.tune.cell import Judge
from jobs.tune.choices import Axes, by_minute, combinations
from jobs.tune.view import cell_json
from jobs.usage.ledger_rows import LedgerRow
from tests import usage_oracle
from tests.flink.streams import SETTINGS_TOML, settings
from tests.tune_oracle import cell_of, changes_of
from tests.usage.ledgers import at, make_ledger, row


def stream(seed: int) -> list[bytes]:
    """Changes without copies, for a ledger counts those once and a replay what its files hold."""
    profile = Profile(
        records=4_000,
        rate_per_s=5.0,
        tenants=25,
        seed=seed,
        misbehaving=(Misbehaving("tenant-000021", 130_000, 400_000, 15.0), Misbehaving("tenant-7", 95_000, 20_000, 30)),
        disorder_ms=1_900,
        duplicates=0,
        late=0.03,
        late_by_ms=(5_000, 90_000),
        malformed=0.02,
        microseconds=0.4,
    )
    return list(records(profile))


def rows_of(files: Sequence[list[bytes]]) -> list[tuple[str, LedgerRow]]:
    """What the usage job makes of them, by its oracle."""
    judged = usage_oracle.judge({f"{number}.jsonl": each for number, each in enumerate(files)}, settings())
    return [
        (table, LedgerRow(key, key_type, start_ms, event_name, *sums, corrects))
        for (table, key, key_type, start_ms, event_name, corrects), sums in judged.rows.items()
    ]


def tune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["tune", *map(str, arguments)])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cells_of_a_ledger_equal_those_of_its_changes_at_a_step_of_a_minute(seed: int, tmp_path: Path) -> None:
    content = stream(seed)
    files = [content[::2], content[1::2]]
    make_ledger(tmp_path / "ledger", rows_of(files))
    axes = Axes(
        limits_wcu=(150, 400, 900), windows_ms=(120_000, 300_000), kinds=tuple(WindowKind),
        leases_ms=((60_000, 180_000), (600_000,)),
    )  # fmt: skip
    choices = combinations(settings(), by_minute(settings(), axes))
    consumption = read_ledgers([str(tmp_path / "ledger")])
    assert consumption.counts.late > 50
    changes = changes_of(files, settings())
    told = [cell_json(cell, consumption) for cell in Judge(consumption).cells(choices)]
    assert {cell["step"] for cell in told} == {"1m"}
    expected = [cell_of(changes, choice) for choice in choices]
    assert [{name: cell[name] for name in expected[0]} for cell in told] == expected
    assert len({cell["suspensions"] for cell in told}) > 4


def ledger_of_one(directory: Path, *times_and_wcu: tuple[str, int], **fields: Any) -> Path:
    make_ledger(directory, [("visits", row(when, "tenant-1", wcu, **fields)) for when, wcu in times_and_wcu])
    return directory


def test_json_says_what_is_known_to_the_minute(tmp_path: Path) -> None:
    ledger = ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 500), ("2026-11-20 10:05", 600))
    [cell] = json.loads(tune(ledger, "--limit", "1000", "--format", "json").stdout)
    assert (cell["source"], cell["step"], cell["suspensions"]) == ("ledger", "1m", 1)
    assert cell["known_to_the_minute"] == ["seconds_to_suspend_median", "seconds_to_suspend_max"]
    # The limit was reached somewhere in the minute from 10:05, and that is decided at its end.
    assert cell["seconds_to_suspend_max"] == 60


def test_corrections_suspend_nobody_and_are_refused_in_the_minute_in_which_they_were_made(tmp_path: Path) -> None:
    late = [
        ("visits", row("2026-11-20 10:20", "tenant-1", 900, corrects=at(f"2026-11-20 10:0{minute}")))
        for minute in (7, 8)
    ]
    on_time = [("visits", row("2026-11-20 10:04", "tenant-1", 1_000))]
    make_ledger(tmp_path / "ledger", on_time + late)
    [cell] = json.loads(tune(tmp_path / "ledger", "--limit", "1000", "--lease", "3m", "--format", "json").stdout)
    # The lease runs from 10:05 to 10:08, exclusive.
    assert (cell["suspensions"], cell["refused_wcu"]) == (1, 900)


def test_the_table_and_the_page_say_what_is_exact(tmp_path: Path) -> None:
    ledger = ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 9_000))
    for printed in (tune(ledger).stdout, tune(ledger, "--format", "html").stdout):
        assert "sums of minutes" in printed
        assert "where in that minute it was a ledger does not tell" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--window", "2m,90s"], "--window: 1m30s is not a whole number of minutes"),
        (["--step", "5s"], "--step: 5s is not a whole number of minutes"),
        (["--lease", "2m/150s"], "--lease: 2m30s is not a whole number of minutes"),
        (["--window", "5m", "--step", "2m"], 'window.size: "5m" is not a multiple of window.step'),
    ],
)
def test_what_minutes_cannot_tell_is_refused_by_its_option(arguments: list[str], said: str, tmp_path: Path) -> None:
    finished = tune(ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 1)), *arguments)
    assert (finished.exit_code, said in finished.output) == (2, True), finished.output


def test_settings_that_minutes_cannot_tell_are_refused_until_an_option_stands_in_for_them(tmp_path: Path) -> None:
    ledger = ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 1))
    config = tmp_path / "headroom.toml"
    config.write_text(SETTINGS_TOML)  # leases of 30 s
    finished = tune(ledger, "--config", config)
    assert (finished.exit_code, "lease.steps: 30s is not a whole number" in finished.output) == (2, True)
    assert tune(ledger, "--config", config, "--lease", "1m/2m").exit_code == 0


def test_a_result_with_a_ledger_in_it_and_several_ledgers_are_read(tmp_path: Path) -> None:
    ledger_of_one(tmp_path / "monday" / "ledger", ("2026-11-20 10:04", 700))
    ledger_of_one(tmp_path / "tuesday", ("2026-11-21 10:04", 700))
    told = json.loads(tune(tmp_path / "monday", tmp_path / "tuesday", "--limit", "700", "--format", "json").stdout)
    assert told[0]["suspensions"] == 2
    twice = tune(tmp_path / "monday", tmp_path / "monday" / "ledger")
    assert (twice.exit_code, "holds 1 rows that are in" in twice.output) == (1, True), twice.output


def test_ledgers_and_recordings_are_not_mixed_and_a_broken_ledger_is_named(tmp_path: Path) -> None:
    ledger = ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 1))
    (tmp_path / "day.jsonl").write_bytes(b"{}\n")
    mixed = tune(ledger, tmp_path / "day.jsonl")
    assert (mixed.exit_code, "name recordings or ledgers, not both" in mixed.output) == (2, True)
    [file] = ledger.rglob("*.parquet")
    file.write_bytes(b"torn")
    torn = tune(ledger)
    assert (torn.exit_code, f"{file}: torn" in torn.output) == (1, True), torn.output


def test_an_empty_ledger_holds_no_change(tmp_path: Path) -> None:
    (tmp_path / "out" / "ledger").mkdir(parents=True)
    assert "There is no change in it." in tune(tmp_path / "out").stdout
    assert "There is no change in it." in tune(tmp_path / "out", "--format", "html").stdout


def test_keys_with_any_character_stay_apart(tmp_path: Path) -> None:
    keys = ["a\0S", "a", "a\0", "\0a", 'ü"']
    make_ledger(tmp_path / "ledger", [("visits", row(key=key, wcu=place + 1)) for place, key in enumerate(keys)])
    consumption = read_ledgers([str(tmp_path / "ledger")])
    found = zip([key[1] for key in consumption.keys], consumption.on_time.wcu.tolist(), strict=True)
    assert sorted(found) == sorted(zip(keys, range(1, 6), strict=True))


@pytest.mark.parametrize(
    ("wcu", "told"), [(47_999, None), (48_000, "approached"), (59_999, "approached"), (60_000, "reached")]
)
def test_hot_keys_of_a_ledger_tell_the_busiest_minute(wcu: int, told: str | None, tmp_path: Path) -> None:
    ledger = ledger_of_one(tmp_path / "ledger", ("2026-11-20 10:04", 5), ("2026-11-20 10:05", wcu))
    finished = CliRunner().invoke(cli, ["hot-keys", str(ledger), "--format", "json"])
    [hot] = json.loads(finished.stdout)[0]["top"]
    assert (hot["wcu"], hot["busiest_minute_wcu"], hot["partition_limit"]) == (5 + wcu, wcu, told)
    assert "busiest_second_wcu" not in hot
    assert "Busiest minute" in CliRunner().invoke(cli, ["hot-keys", str(ledger)]).stdout
    wrong = CliRunner().invoke(cli, ["hot-keys", str(ledger), "--period", "90s"])
    assert (wrong.exit_code, "--period" in wrong.output) == (2, True)
