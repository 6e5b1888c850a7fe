from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ec2.events import (
    ActivityKind,
    GroupActivity,
    Ignored,
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    LifecycleAction,
    LifecycleTransition,
    Malformed,
    Place,
    RebalanceRecommendation,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.ec2.parse import parse_event
from connectors.spot_action_messages import decode, encode
from connectors.spot_actions import ReplaceEvidence, ReplaceInstance, replace_action_id
from jobs.settings import SignalSettings
from jobs.spot.market import Sign
from jobs.spot.signals import (
    Heard,
    InstanceEvent,
    InstanceHistory,
    SpotInstanceFound,
    forget_at_ms,
    hear,
    instance_event,
)
from tests.spot_oracle import OracleEvent, interruptions

SETTINGS = SignalSettings(action_valid_ms=900_000, remember_ms=5_000_000, remember_spot_ms=90_000_000)
EVENTS = Path(__file__).parents[1] / "events" / "ec2"
ACCOUNT, REGION, INSTANCE = "604418233907", "eu-west-1", "i-0004be7a92c1d03f5"
WARNED_MS, ENDED_MS = 1_000_000, 1_125_000


def envelope(at_ms: int, event_id: str) -> dict[str, Any]:
    return {"event_id": event_id, "account": ACCOUNT, "region": REGION, "at_ms": at_ms}


def warning(
    at_ms: int = WARNED_MS, action: InstanceAction = InstanceAction.TERMINATE, instance_id: str = INSTANCE
) -> InterruptionWarning:
    return InterruptionWarning(**envelope(at_ms, f"warning-{at_ms}"), instance_id=instance_id, instance_action=action)


def rebalance(at_ms: int = 400_000, instance_id: str = INSTANCE) -> RebalanceRecommendation:
    return RebalanceRecommendation(**envelope(at_ms, f"rebalance-{at_ms}"), instance_id=instance_id)


def state(
    state: InstanceState = InstanceState.SHUTTING_DOWN, at_ms: int = ENDED_MS, instance_id: str = INSTANCE
) -> StateChange:
    return StateChange(**envelope(at_ms, f"{state}-{at_ms}"), instance_id=instance_id, state=state)


def running(at_ms: int) -> StateChange:
    return state(InstanceState.RUNNING, at_ms)


def fulfillment(at_ms: int = 100_000, instance_id: str = INSTANCE) -> SpotRequestFulfillment:
    return SpotRequestFulfillment(
        **envelope(at_ms, f"fulfillment-{at_ms}"), instance_id=instance_id, spot_request_id="sir-k7m2q9xw"
    )


def terminate_hook(at_ms: int, **changes: Any) -> LifecycleAction:
    action = LifecycleAction(
        **envelope(at_ms, f"hook-{at_ms}"),
        group="inbox-workers",
        instance_id=INSTANCE,
        transition=LifecycleTransition.TERMINATING,
        hook="drain-inbox",
        token="c2a8d6a3-5e0b-4f0d-8d1c-70e7a1b3f6d9",  # noqa: S106 - names a hook's wait, and is no secret
        origin=None,
        destination=None,
    )
    return replace(action, **changes)


def terminate_activity(at_ms: int, started_at_ms: int | None, **changes: Any) -> GroupActivity:
    activity = GroupActivity(
        **envelope(at_ms, f"activity-{at_ms}"),
        kind=ActivityKind.TERMINATE,
        successful=True,
        group="inbox-workers",
        instance_id=INSTANCE,
        started_at_ms=started_at_ms,
        zone="eu-west-1b",
        destination=None,
        status_message="",
    )
    return replace(activity, **changes)


@dataclass
class Listener:
    """All instances of an account, as a job would keep them."""

    histories: dict[str, InstanceHistory] = field(default_factory=dict)
    actions: list[ReplaceInstance] = field(default_factory=list)
    signs: list[tuple[str, Sign]] = field(default_factory=list)

    def hear(self, events: Iterable[InstanceEvent]) -> "Listener":
        for event in events:
            assert event.instance_id is not None
            before = self.histories.get(event.instance_id, InstanceHistory())
            self.histories[event.instance_id], heard = hear(before, event, SETTINGS)
            self.actions += [heard.action] if heard.action else []
            self.signs += [(event.instance_id, heard.sign)] if heard.sign else []
        return self


def actions(*events: InstanceEvent) -> list[ReplaceInstance]:
    return Listener().hear(events).actions


def signs(*events: InstanceEvent) -> list[Sign]:
    return [sign for _, sign in Listener().hear(events).signs]


TERMINATED = state(InstanceState.TERMINATED, ENDED_MS + 40_000)
TELLING: tuple[OracleEvent, ...] = (fulfillment(), rebalance(), warning(), state(), TERMINATED)
COMBINATIONS = [told for size in range(len(TELLING) + 1) for told in combinations(TELLING, size)]
ACTION_ID = replace_action_id(account=ACCOUNT, region=REGION, instance_id=INSTANCE, restarted_at_ms=None)


@pytest.mark.parametrize(
    "told", COMBINATIONS, ids=lambda told: " ".join(event.event_id.rsplit("-", 1)[0] for event in told) or "nothing"
)
def test_every_order_of_every_combination_of_events_gives_one_action_or_none_of_them_does(
    told: tuple[OracleEvent, ...],
) -> None:
    expected = interruptions(told).get(INSTANCE, 0)
    for order in permutations(told):
        found = actions(*order, *order)
        assert [action.action_id for action in found] == [ACTION_ID] * expected


@pytest.mark.parametrize("told", [(fulfillment(),), (rebalance(),), (state(),), (state(), TERMINATED)], ids=str)
def test_what_is_no_interruption_gives_no_action(told: tuple[OracleEvent, ...]) -> None:
    assert interruptions(told) == {}
    assert actions(*told) == []


def test_a_warning_gives_an_announced_action() -> None:
    assert actions(rebalance(), warning()) == [
        ReplaceInstance(
            action_id=ACTION_ID,
            issued_at_ms=WARNED_MS,
            not_after_ms=WARNED_MS + 900_000,
            account=ACCOUNT,
            region=REGION,
            instance_id=INSTANCE,
            evidence=ReplaceEvidence(
                announced=True,
                event_id="warning-1000000",
                instance_action=InstanceAction.TERMINATE,
                warned_at_ms=WARNED_MS,
                rebalanced_at_ms=400_000,
                state=None,
                state_at_ms=None,
            ),
        )
    ]


def test_the_end_of_a_spot_instance_without_a_warning_gives_an_unannounced_action() -> None:
    assert actions(fulfillment(), state()) == [
        ReplaceInstance(
            action_id=ACTION_ID,
            issued_at_ms=ENDED_MS,
            not_after_ms=ENDED_MS + 900_000,
            account=ACCOUNT,
            region=REGION,
            instance_id=INSTANCE,
            evidence=ReplaceEvidence(
                announced=False,
                event_id="shutting-down-1125000",
                instance_action=None,
                warned_at_ms=None,
                rebalanced_at_ms=None,
                state=InstanceState.SHUTTING_DOWN,
                state_at_ms=ENDED_MS,
            ),
        )
    ]


def test_an_end_is_acted_on_as_of_its_own_time_however_late_it_proves_to_be_that_of_a_spot_instance() -> None:
    in_time = actions(rebalance(), state())
    reordered = actions(state(), rebalance())
    assert in_time == reordered
    found = SpotInstanceFound(account=ACCOUNT, region=REGION, at_ms=ENDED_MS + 3_600_000, instance_id=INSTANCE)
    [late] = actions(state(), TERMINATED, found)
    assert (late.issued_at_ms, late.not_after_ms) == (ENDED_MS, ENDED_MS + 900_000)


def test_a_scan_tells_of_spot_instances_that_are_older_than_the_job() -> None:
    found = SpotInstanceFound(account=ACCOUNT, region=REGION, at_ms=500_000, instance_id=INSTANCE)
    assert len(actions(found, state())) == 1
    assert actions(found, found) == []


@pytest.mark.parametrize("told", [InstanceState.STOPPING, InstanceState.STOPPED], ids=str)
def test_a_stop_without_warning_gives_no_action(told: InstanceState) -> None:
    assert actions(fulfillment(), state(told)) == []


@pytest.mark.parametrize(("hook_at_ms", "count"), [(ENDED_MS - 1, 0), (ENDED_MS, 0), (ENDED_MS + 1, 1)])
def test_what_auto_scaling_took_out_before_it_ended_is_no_interruption(hook_at_ms: int, count: int) -> None:
    told: list[OracleEvent] = [fulfillment(), terminate_hook(hook_at_ms), state()]
    assert len(actions(*told)) == count
    assert interruptions(told) == ({INSTANCE: 1} if count else {})


@pytest.mark.parametrize(
    ("activity", "count"),
    [
        (terminate_activity(ENDED_MS + 60_000, started_at_ms=ENDED_MS), 0),
        (terminate_activity(ENDED_MS + 60_000, started_at_ms=ENDED_MS + 1), 1),
        (terminate_activity(ENDED_MS, started_at_ms=None), 0),
        (terminate_activity(ENDED_MS + 1, started_at_ms=None), 1),
        (terminate_activity(ENDED_MS, started_at_ms=0, successful=False), 1),
        (terminate_activity(ENDED_MS, started_at_ms=0, kind=ActivityKind.LAUNCH), 1),
        (terminate_activity(ENDED_MS, started_at_ms=0, destination=Place.WARM_POOL), 1),
        (terminate_hook(ENDED_MS, destination=Place.WARM_POOL), 1),
        (terminate_hook(ENDED_MS, transition=LifecycleTransition.LAUNCHING), 1),
        (terminate_hook(ENDED_MS, region=None), 0),
    ],
)
def test_only_a_termination_that_auto_scaling_began_counts_as_its_doing(
    activity: GroupActivity | LifecycleAction, count: int
) -> None:
    assert len(actions(fulfillment(), activity, state())) == count


def test_of_repeated_words_the_earliest_counts() -> None:
    assert actions(fulfillment(), terminate_hook(ENDED_MS + 5), terminate_hook(ENDED_MS - 5), state()) == []
    [action] = actions(rebalance(400_000), rebalance(300_000), rebalance(500_000), warning())
    assert action.evidence.rebalanced_at_ms == 300_000


def test_a_warning_counts_whatever_auto_scaling_does() -> None:
    assert len(actions(terminate_hook(WARNED_MS - 5), warning())) == 1
    assert len(actions(warning(), terminate_hook(WARNED_MS - 5), state())) == 1


def test_what_auto_scaling_tells_too_late_takes_nothing_back() -> None:
    told = actions(fulfillment(), state(), terminate_hook(ENDED_MS - 5), TERMINATED)
    assert [action.evidence.announced for action in told] == [False]


def test_warnings_count_against_the_market_and_unannounced_ends_do_not() -> None:
    assert signs(warning(), warning(), state()) == [Sign.INTERRUPTION]
    assert signs(fulfillment(), state(), TERMINATED) == []
    assert signs(fulfillment(), state(), warning()) == [Sign.INTERRUPTION]
    assert signs(rebalance(), rebalance(500_000)) == [Sign.REBALANCE]


def test_the_signs_of_an_instance_do_not_depend_on_the_order() -> None:
    for order in permutations(TELLING):
        assert sorted(signs(*order, *order)) == [Sign.INTERRUPTION, Sign.REBALANCE]


@pytest.mark.parametrize("action", [InstanceAction.STOP, InstanceAction.HIBERNATE])
def test_an_instance_that_comes_back_can_be_interrupted_again(action: InstanceAction) -> None:
    first, second = warning(100, action), warning(9_000, action)
    told: list[InstanceEvent] = [first, first, running(5_000), second, second]
    found = actions(*told)
    assert [each.issued_at_ms for each in found] == [100, 9_000]
    assert len({each.action_id for each in found}) == 2
    assert signs(*told) == [Sign.INTERRUPTION, Sign.INTERRUPTION]


def test_an_instance_that_came_back_can_end_without_warning() -> None:
    found = actions(warning(100, InstanceAction.STOP), running(5_000), state(at_ms=9_000))
    assert [each.evidence.announced for each in found] == [True, False]


@pytest.mark.parametrize(("at_ms", "count"), [(4_999, 1), (5_000, 2), (5_001, 2)])
def test_what_is_told_of_the_time_before_an_instance_came_back_changes_nothing(at_ms: int, count: int) -> None:
    stop = InstanceAction.STOP
    assert len(actions(warning(100, stop), running(5_000), warning(at_ms, stop))) == count
    assert len(actions(warning(100, stop), running(5_000), state(at_ms=at_ms))) == count


@pytest.mark.parametrize(("at_ms", "count"), [(99, 1), (100, 1), (101, 2)])
def test_an_instance_comes_back_after_its_warning(at_ms: int, count: int) -> None:
    stop = InstanceAction.STOP
    assert len(actions(warning(100, stop), running(at_ms), warning(9_000, stop))) == count


def test_a_terminated_instance_never_comes_back() -> None:
    assert len(actions(warning(100), running(5_000), warning(9_000))) == 1
    stop = InstanceAction.STOP
    assert len(actions(warning(100, stop), state(at_ms=4_000), running(5_000), warning(9_000, stop))) == 1


@given(st.permutations([warning(100, InstanceAction.STOP), running(5_000), warning(9_000, InstanceAction.STOP)] * 2))
def test_in_no_order_is_a_return_acted_on_more_often_than_interrupted(order: list[StateChange]) -> None:
    assert 1 <= len(actions(*order)) <= 2


class TestForgetting:
    def test_an_end_is_forgotten_after_the_last_word(self) -> None:
        history = Listener().hear([warning(), TERMINATED, state()]).histories[INSTANCE]
        assert forget_at_ms(history, SETTINGS) == TERMINATED.at_ms + 5_000_000

    def test_a_terminating_instance_is_not_kept_for_long(self) -> None:
        history = Listener().hear([fulfillment(), warning()]).histories[INSTANCE]
        assert forget_at_ms(history, SETTINGS) == WARNED_MS + 5_000_000

    @pytest.mark.parametrize(
        "told",
        [(fulfillment(), rebalance()), (warning(100, InstanceAction.STOP), rebalance())],
        ids=["alive", "may come back"],
    )
    def test_a_spot_instance_that_may_run_is_kept_for_long(self, told: tuple[InstanceEvent, ...]) -> None:
        history = Listener().hear(told).histories[INSTANCE]
        assert forget_at_ms(history, SETTINGS) == 400_000 + 90_000_000

    def test_an_instance_not_known_as_spot_is_not_kept_for_long(self) -> None:
        history = Listener().hear([running(7_000)]).histories[INSTANCE]
        assert forget_at_ms(history, SETTINGS) == 7_000 + 5_000_000

    def test_what_is_told_again_after_that_repeats_an_action_that_is_void(self) -> None:
        listener = Listener().hear([warning(), state()])
        forgotten_ms = forget_at_ms(listener.histories.pop(INSTANCE), SETTINGS)
        listener.hear([warning()])
        first, again = listener.actions
        assert again.action_id == first.action_id
        assert again.not_after_ms < forgotten_ms


SPOT_IDS = [f"i-{number:017x}" for number in range(4)]


@st.composite
def batches(draw: st.DrawFn) -> list[OracleEvent]:
    """Events of a few instances, possible or not, no two of one instance at the same time."""
    told: list[OracleEvent] = []
    for instance_id in SPOT_IDS:
        for at_ms in draw(st.lists(st.integers(0, 1_000), unique=True, max_size=6)):
            possible: list[OracleEvent] = [
                fulfillment(at_ms, instance_id),
                rebalance(at_ms, instance_id),
                *(warning(at_ms, action, instance_id) for action in InstanceAction),
                *(state(each, at_ms, instance_id) for each in InstanceState),
                terminate_hook(at_ms, instance_id=instance_id),
            ]
            told.append(draw(st.sampled_from(possible)))
    return told


def counted(found: Iterable[ReplaceInstance]) -> dict[str, int]:
    return dict(Counter(action.instance_id for action in found))


@given(batches())
def test_in_the_order_of_time_there_are_as_many_actions_as_interruptions(told: list[OracleEvent]) -> None:
    in_order = sorted(told, key=lambda event: event.at_ms)
    assert counted(actions(*(event for each in in_order for event in (each, each)))) == interruptions(told)


@given(batches(), st.data())
def test_in_any_order_and_with_repeats_there_are_as_many_actions_as_interruptions(
    told: list[OracleEvent], data: st.DataObject
) -> None:
    # What Auto Scaling tells too late, and a return from a stop told too late, have laws of their own.
    told = [event for event in told if not isinstance(event, LifecycleAction)]
    told = [
        replace(event, instance_action=InstanceAction.TERMINATE) if isinstance(event, InterruptionWarning) else event
        for event in told
    ]
    repeats = data.draw(st.lists(st.sampled_from(told), max_size=8)) if told else []
    found = actions(*data.draw(st.permutations([*told, *repeats])))
    assert counted(found) == interruptions(told)
    assert len({action.action_id for action in found}) == len(found)


@st.composite
def returns(draw: st.DrawFn) -> list[OracleEvent]:
    """What was heard, with gaps, of an instance that stops when interrupted, comes back, and may end at last."""
    stop = draw(st.sampled_from([InstanceAction.STOP, InstanceAction.HIBERNATE]))
    told: list[OracleEvent] = [fulfillment(0)]
    for at_ms in range(1_000, 1_000 * draw(st.integers(2, 5)), 1_000):
        told += [rebalance(at_ms), warning(at_ms + 100, stop), state(InstanceState.STOPPED, at_ms + 200)]
        told += [state(InstanceState.PENDING, at_ms + 800), running(at_ms + 810)]
    told += [state(at_ms=9_000), state(InstanceState.TERMINATED, 9_040)]
    return [event for event in told if draw(st.integers(0, 4))]


@given(returns(), st.data())
def test_in_any_order_returns_are_acted_on_but_never_more_often_than_interrupted(
    told: list[OracleEvent], data: st.DataObject
) -> None:
    expected = interruptions(told)
    repeats = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    found = actions(*data.draw(st.permutations([*told, *repeats])))
    assert counted(found).keys() == expected.keys()
    assert all(count <= expected[instance_id] for instance_id, count in counted(found).items())
    assert len({action.action_id for action in found}) == len(found)


@given(batches(), st.data())
def test_every_action_is_a_message_about_its_instance(told: list[OracleEvent], data: st.DataObject) -> None:
    for action in actions(*data.draw(st.permutations(told))):
        assert decode(encode(action)) == action
        assert action.instance_id in SPOT_IDS


def test_a_storm_of_200_warnings_in_10_s_gives_200_actions_in_one_pass() -> None:
    ids = [f"i-{number:017x}" for number in range(200)]
    storm: list[InstanceEvent] = []
    for number, instance_id in enumerate(ids):
        at_ms = 1_000_000 + number * 50
        storm += [rebalance(at_ms, instance_id), warning(at_ms + 25, instance_id=instance_id)]
    listener = Listener().hear(storm + storm[::-1])
    assert [action.instance_id for action in listener.actions] == ids
    assert [action.issued_at_ms for action in listener.actions] == [1_000_025 + number * 50 for number in range(200)]
    assert Counter(listener.signs) == Counter((each, sign) for each in ids for sign in ("interruption", "rebalance"))


def recorded(name: str) -> InstanceEvent | None:
    event = parse_event((EVENTS / f"{name}.json").read_bytes())
    assert not isinstance(event, Malformed | Ignored)
    return instance_event(event)


def test_recorded_events_of_one_interruption_give_one_action() -> None:
    names = (
        "spot_request_fulfillment",
        "rebalance_recommendation",
        "interruption_warning",
        "state_change_shutting_down",
    )
    told = [event for event in map(recorded, names) if event is not None]
    [action] = actions(*told)
    assert action.instance_id == INSTANCE
    assert action.evidence.announced


@pytest.mark.parametrize("name", ["test_notification", "scheduled_change", "launch_unsuccessful_no_instance"], ids=str)
def test_what_is_not_about_one_instance_is_no_signal(name: str) -> None:
    assert recorded(name) is None


@pytest.mark.parametrize(
    "name", ["launch_successful", "launch_lifecycle_action_to_warm_pool", "state_change_running"], ids=str
)
def test_launches_and_starts_call_for_nothing(name: str) -> None:
    event = recorded(name)
    assert event is not None
    assert hear(InstanceHistory(), event, SETTINGS)[1] == Heard()
