"""What a person sees of a replay of the Spot job."""

from pathlib import Path

import pytest

from jobs.settings import Settings
from jobs.spot.replay_view import show_result
from jobs.spot.tally import Tally


@pytest.mark.parametrize(("count", "said"), [(1, "1 event about 1 instance in"), (2, "2 events about 2 instances in")])
def test_one_is_not_told_as_many(count: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.counts.kinds["state_change"] = tally.counts.instances = count
    show_result(tally, tally.summary(0.5), Settings(), Path("out"))
    assert said in capsys.readouterr().out
