"""A simulated week: 140 groups on Spot with droughts, storms, duplicates, lost messages, kills and throttling, seeded.

The plan, the driver and the saga are those that run in production; EC2, Auto Scaling and the journal are the model of
`tests.spot_world`, with its times. Prices are those of the example price file.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from connectors.prices import HourlyPrice, Prices, SpotPrice
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.replace_interrupted import with_replacement
from lambdas.spot.amazon import AmazonError
from lambdas.spot.drive import Driver
from lambdas.spot.driven import Driven
from lambdas.spot.fleet import Fleet, Market, Pool, TypeFacts
from lambdas.spot.group_policy import read_policy
from lambdas.spot.plan import Kept, PlanSettings, plan_group
from lambdas.spot.replacement import plan_replacement
from lambdas.spot.saga_step import SagaSettings
from lambdas.spot.steps import CLAIM_MS
from lambdas.spot.swap import GroupJournal, Outcome, PlannedSwap, open_swap
from tests.spot_world import Asked, KilledError, Machine, When, World

DAY_S: Final = 86_400
ZONE: Final = "eu-west-1a"
_SCAN_S, _LOST_S, _SOAK_S, _COOL_DOWN_S = 300, 1_200, 720, 10_800
_PRICES: Final = {"m5.large": ("0.107", "0.041"), "m5a.large": ("0.096", "0.039"), "m6i.large": ("0.107", "0.044")}
_DOLLARS: Final = {name: (float(on_demand), float(spot)) for name, (on_demand, spot) in _PRICES.items()}
_STEP_S: Final = 30.0
"""How often the model looks at itself, and how finely a lack of capacity is measured."""


@dataclass
class Week:
    """The simulation.

    Args:
        seed: All chance comes from it.
        groups: How many groups.
        size: Instances of each.
        changes: New On-Demand Instances a day, in the whole fleet, which the actuators are to replace.
    """

    seed: int
    groups: int
    size: int
    changes: int
    world: World = field(default_factory=World)
    happened: Counter[str] = field(default_factory=Counter)
    short_s: float = 0.0
    on_demand_short_s: float = 0.0
    spent: float = 0.0
    on_demand: float = 0.0
    markets: dict[Pool, Market] = field(default_factory=dict)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - a simulation, not a secret
        asked: Any = Asked(self.world)
        world: Any = self.world
        self.driver = Driver(
            asked, world, world, tag="AsgOptimiser", settings=SagaSettings(), clock_ms=self.world.now_ms
        )
        self.wanted: dict[str, int] = {}
        tags = {"AsgOptimiser:MinOnDemandPercent": "10", "AsgOptimiser:Parallel": "3"}
        self.least_on_demand = read_policy(tags).least_on_demand(self.size)
        for number in range(self.groups):
            name = f"group-{number:03}"
            most = self.size if number % 2 else self.size + 2
            self.world.make_group(name, self.size, most=most, tags=tags)
            self.wanted[name] = self.size

    def at(self, seconds: float, then: Callable[[], None]) -> None:
        """Something that will happen."""
        self._order += 1
        heapq.heappush(self._events, (self.world.now_s + seconds, self._order, then))

    def run(self, days: int) -> None:
        """All that happens in some days, and then until nothing is left to do."""
        end_s = days * DAY_S
        self.at(0, self.scan)
        self.at(self.random.expovariate(self.changes / DAY_S), self.change)
        for _ in range(days * 3):
            self.at(self.random.uniform(0, end_s), self.drought)
        for _ in range(days):
            self.at(self.random.uniform(0, end_s), self.storm)
            self.at(self.random.uniform(0, end_s), self.throttling)
        while self._events and self._events[0][0] <= end_s + DAY_S // 4:
            at_s, _, then = heapq.heappop(self._events)
            self._pass(at_s)
            then()
            if self.world.now_s > end_s:
                self.changes = 0

    def _pass(self, until_s: float) -> None:
        while self.world.now_s < until_s:
            step_s = min(_STEP_S, until_s - self.world.now_s)
            self._account(step_s)
            self.world.advance(step_s)

    def _account(self, step_s: float) -> None:
        hours = step_s / 3_600
        for machine in self.world.machines.values():
            if machine.ended_s is None:
                spot = machine.instance.purchase is Purchase.SPOT
                self.spent += hours * _DOLLARS[machine.instance.instance_type][spot]
        for name, wanted in self.wanted.items():
            self.on_demand += hours * wanted * _DOLLARS["m5.large"][0]
            self.short_s += step_s * max(0, wanted - self.world.serving(name))
            staying = Counter(one.instance.purchase for one in self.world.staying(name))
            self.on_demand_short_s += step_s * max(0, self.least_on_demand - staying[Purchase.ON_DEMAND])

    def change(self) -> None:
        """Somebody's deployment or scaling replaces an instance: the group launches a new one, On-Demand."""
        if not self.changes:
            return
        name = self.random.choice(sorted(self.wanted))
        spots = [one for one in self.world.staying(name) if one.instance.purchase is Purchase.SPOT]
        busy = self.world.journals.get(name, GroupJournal(name)).is_open
        if spots and not busy:
            fresh = self.world.launch(name, "m5.large", Purchase.ON_DEMAND, {}, joined_s=self.world.now_s)
            fresh.launched_s -= 1_000
            self.random.choice(spots).leaving_s = self.world.now_s
            self.happened["instances changed by others"] += 1
        self.at(self.random.expovariate(self.changes / DAY_S), self.change)

    def drought(self) -> None:
        """A pool runs dry: some of its instances are interrupted, and nothing can be launched in it."""
        pool = Pool(self.random.choice(sorted(_PRICES)), ZONE)
        self.happened["droughts"] += 1
        self.world.dry.add(pool)
        self._interrupt_in(pool, 0.15)
        lasts_s = self.random.uniform(1_800, 14_400)
        self.at(_SOAK_S, lambda: self.markets.update({pool: Market.FALLBACK}))
        self.at(lasts_s, lambda: self.world.dry.discard(pool))
        self.at(lasts_s + _COOL_DOWN_S, lambda: self.markets.update({pool: Market.ARMED}))

    def storm(self) -> None:
        """Many instances of a pool are interrupted at once."""
        self.happened["storms"] += 1
        self._interrupt_in(Pool(self.random.choice(sorted(_PRICES)), ZONE), 0.5)

    def throttling(self) -> None:
        """For ten minutes, nine of ten launches are refused."""
        self.happened["throttlings"] += 1
        self.world.refuse_launches = lambda: self.random.random() < 0.9
        self.at(600, lambda: setattr(self.world, "refuse_launches", lambda: False))

    def _interrupt_in(self, pool: Pool, share: float) -> None:
        for name, machine in sorted(self.world.machines.items()):
            spot = machine.alive() and machine.instance.pool == pool and machine.instance.purchase is Purchase.SPOT
            if spot and machine.taken_s is None and self.random.random() < share:
                self.interrupt(name, machine)

    def interrupt(self, name: str, machine: Machine) -> None:
        """A warning, told never, once or twice, some seconds late."""
        group = machine.group
        self.world.interrupt(name)
        self.happened["interruptions"] += 1
        told = self.random.choices((0, 1, 2), (5, 80, 15))[0]
        self.happened["warnings lost"] += told == 0
        for _ in range(told):
            self.at(self.random.uniform(1, 15), lambda: self.replace(name))
        if group:
            self.at(150, lambda: self._survived(group))

    def _survived(self, group: str) -> None:
        self.happened["interruptions survived"] += self.world.serving(group) >= self.wanted[group]

    def replace(self, name: str) -> None:
        """What the replacing actuator does about a warning."""
        machine = self.world.machines[name]
        group = machine.group or machine.instance.launched_for
        if not group or not machine.alive():
            return
        journal = self.world.journals.get(group, GroupJournal(group))
        fleet = self._fleet(group)
        planned: PlannedSwap | None = None
        if not any(name in (swap.twin_id, swap.original_id) for swap in journal.swaps):
            found = plan_replacement(fleet, fleet.groups[0], fleet.instances[name], journal, PlanSettings())
            planned = None if isinstance(found, Kept) else found
        instance = self.world.seen(machine)
        busy = self.drive(
            group, lambda read: with_replacement(read, fleet.groups[0], instance, planned, self.world.now_ms())
        )
        if busy:
            self.at(30, lambda: self.replace(name))  # the queue's visibility timeout

    def scan(self) -> None:
        """What the scan does, every five minutes."""
        for name in sorted(self.wanted):
            journal = self.world.journals.get(name, GroupJournal(name))
            if journal.is_open and self.world.now_ms() >= journal.last_moved_ms + _LOST_S * 1_000:
                self.happened["groups woken by the scan"] += 1
                self.drive(name)
            fleet = self._fleet(name)
            for swap in plan_group(fleet, fleet.groups[0], journal, PlanSettings()).swaps:
                self.drive(name, lambda read, swap=swap: _opened(read, swap, self.world.now_ms()))  # type: ignore[misc]
        self.world.forget()
        self.at(_SCAN_S, self.scan)

    def drive(self, group: str, change: Callable[[GroupJournal], GroupJournal] = lambda read: read) -> bool:
        """Takes a group on, and sends the message that takes it further; whether another was at work on it."""
        if self.random.random() < 0.01:
            self.world.fault = (self.random.randrange(6), self.random.choice(list(When)))
        try:
            driven = self.driver.drive(group, change=change)
        except KilledError:
            self.happened["kills"] += 1
            self.at(CLAIM_MS / 1_000 + 1, lambda: self._again(group, change))
            return False
        except AmazonError:
            return True
        finally:
            self.world.fault = None
        self._go_on(group, driven)
        return driven.is_busy

    def _again(self, group: str, change: Callable[[GroupJournal], GroupJournal]) -> None:
        self.drive(group, change)

    def _go_on(self, group: str, driven: Driven) -> None:
        """The messages that are sent, lost and doubled."""
        for ended in driven.ended:
            self.happened[f"swaps {ended.outcome}"] += 1
        again = driven.wait.delay_ms / 1_000 if driven.wait else 30 if driven.error else None
        if again is None:
            return
        copies = self.random.choices((0, 1, 2), (0.5, 98.5, 1))[0]
        self.happened["messages lost"] += copies == 0
        for _ in range(copies):
            self.at(again, lambda: self._woken(group, driven.journal.wake))

    def _woken(self, group: str, wake: int) -> None:
        if wake >= self.world.journals.get(group, GroupJournal(group)).wake:
            self.drive(group)

    def _fleet(self, name: str) -> Fleet:
        group = self.world.group_values(name)
        machines = {one.instance_id: self.world.machines[one.instance_id] for one in group.members}
        return Fleet(
            account="123456789012",
            region="eu-west-1",
            at_ms=self.world.now_ms(),
            groups=(group,),
            instances={one: self.world.seen(machine) for one, machine in machines.items()},
            types={one: TypeFacts(one, frozenset({"x86_64"}), 2, 8_192) for one in _PRICES},
            prices=_prices(),
            markets=self.markets,
        )


def _opened(journal: GroupJournal, swap: PlannedSwap, at_ms: int) -> GroupJournal:
    if journal.swap_of(swap.original_id):
        return journal
    return replace(journal, swaps=(*journal.swaps, open_swap(swap, at_ms)))


def _prices() -> Prices:
    return Prices(
        "USD",
        on_demand=[
            HourlyPrice("eu-west-1", one, DEFAULT_PLATFORM, Decimal(price)) for one, (price, _) in _PRICES.items()
        ],
        spot=[SpotPrice(ZONE, one, DEFAULT_PLATFORM, 0, Decimal(price)) for one, (_, price) in _PRICES.items()],
    )


def simulate(
    *, seed: int, days: int, groups: int, size: int, changes: int
) -> tuple[Week, Mapping[str, str | int | float]]:
    """A week, and its figures."""
    week = Week(seed, groups, size, changes)
    week.run(days)
    world = week.world
    raised = sum(world.journals.get(name, GroupJournal(name)).raised is not None for name in world.groups)
    sizes = sum(group.max_size not in (size, size + 2) for group in world.groups.values())
    still_open = sum(journal.is_open for journal in world.journals.values())
    capacity_s = groups * size * days * DAY_S
    return week, {
        **{name: week.happened[name] for name in sorted(week.happened)},
        "orphans at the end": len(world.orphans()),
        "double launches": len(world.tokens) - len(set(world.tokens.values())),
        "MaxSize left raised": raised + sizes,
        "swaps left open": still_open,
        "saving %": 100 * (1 - week.spent / week.on_demand),
        "instance-seconds below desired": round(week.short_s),
        "capacity below desired %": 100 * week.short_s / capacity_s,
        "instance-seconds below the On-Demand minimum": round(week.on_demand_short_s),
        "API calls per swap": sum(world.calls.values()) / max(1, sum(week.happened[f"swaps {one}"] for one in Outcome)),
    }


def measure() -> Mapping[str, Mapping[str, str | int | float]]:
    """The figures of a week of 140 groups and 650 changes a day."""
    _, figures = simulate(seed=5, days=7, groups=140, size=10, changes=650)
    return {name: {"a week": figure} for name, figure in figures.items()}
