from jobs.capacity.kept_rules import KeptVersions, kept
from jobs.settings import Settings
from jobs.settings.load import parse_settings

TEXT = "[[rules]]\nversion = 1\n[rules.limits]\ndefault_wcu = {wcu}\n"


def settings(lowest_warn_wcu: int) -> Settings:
    text = f'[limits]\ndefault_wcu = 5000\n[rules]\nstream = "rules"\nlowest_warn_wcu = {lowest_warn_wcu}\n'
    return parse_settings(text.encode(), "test")


def test_a_kept_version_without_a_time_is_in_force_from_its_arrival_on() -> None:
    versions = KeptVersions(settings(10))
    assert versions.read([("1", kept(1_000, TEXT.format(wcu=50)))]) == []
    assert [versions.timeline().at(at_ms).version for at_ms in (999, 1_000, 1_001)] == [0, 1, 1]


def test_a_kept_version_that_new_settings_do_not_allow_is_told_once_and_not_in_force() -> None:
    versions, state = KeptVersions(settings(1_000)), [("1", kept(1_000, TEXT.format(wcu=50)))]
    (problem,) = versions.read(state)
    assert "version 1: " in problem
    assert "lowest_warn_wcu" in problem
    assert versions.read(state) == []
    assert (versions.newest, versions.timeline().at(2_000).version) == (0, 0)


def test_a_version_that_comes_again_mended_takes_its_place() -> None:
    versions = KeptVersions(settings(1_000))
    versions.read([("1", kept(1_000, TEXT.format(wcu=50)))])
    assert versions.read([("1", kept(3_000, TEXT.format(wcu=2_000)))]) == []
    assert (versions.newest, versions.timeline().at(3_000).limit_for("t", "k").wcu) == (1, 2_000)
