"""Actuator: what each of the Spot actuators is made of, and what it says of how far a group came."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from connectors.spot_fact_records import encode_facts
from connectors.spot_facts import CapacityError, Facts, LaunchRefused, facts_id
from connectors.swap_messages import SwapInstance, encode
from lambdas.spot.act import Act
from lambdas.spot.amazon import CALL_FAILED, Clients, Refusal
from lambdas.spot.cover import Cover
from lambdas.spot.describe import Describe
from lambdas.spot.drive import Driver
from lambdas.spot.driven import Driven, RefusedLaunch
from lambdas.spot.environment import Environment
from lambdas.spot.fleet import Market, Pool, TypeFacts
from lambdas.spot.journal import JournalStore
from lambdas.spot.plan import PlanSettings
from lambdas.spot.price_list import FRESH_MS, OnDemandPrices
from lambdas.spot.saga_step import SagaSettings, Wait
from lambdas.spot.scan import Scanned, load_prices, scan_fleet, settings_of
from lambdas.spot.swap import GroupJournal

MAX_DELAY_S: Final = 900
"""The longest that SQS delays a message."""


class ForeignError(Exception):
    """A message about what is not ours to touch; the text says why."""


class UndoneError(Exception):
    """What was asked for was refused, and has been undone or is being undone; only a person can help."""


_known_types: dict[str, Mapping[str, TypeFacts]] = {}
_known_zones: dict[str, Mapping[str, str]] = {}


@dataclass(frozen=True)
class Actuator:
    """One actuator: its settings, its clients, its log and its counts."""

    environment: Environment
    clients: Clients
    logger: Logger
    metrics: EphemeralMetrics
    clock_ms: Callable[[], int] = lambda: int(time.time() * 1_000)

    @property
    def describe(self) -> Describe:
        """Questions."""
        return Describe(self.clients)

    @property
    def store(self) -> JournalStore:
        """The journal."""
        return JournalStore(self.clients.dynamodb, self.environment.table)

    @property
    def act(self) -> Act:
        """Changes."""
        return Act(self.clients)

    def types(self) -> Mapping[str, TypeFacts]:
        """What instance types have; it never changes, so a warm function asks once."""
        if self.environment.region not in _known_types:
            _known_types[self.environment.region] = self.describe.types()
        return _known_types[self.environment.region]

    def zone_names(self) -> Mapping[str, str]:
        """The names of zones by their ids, which never change either."""
        if self.environment.region not in _known_zones:
            _known_zones[self.environment.region] = self.describe.market.zone_names()
        return _known_zones[self.environment.region]

    def on_demand_prices(self, fresh_ms: int = FRESH_MS) -> OnDemandPrices:
        """Where On-Demand prices come from, and how old an answer of the Price List may be."""
        return OnDemandPrices(load_prices(self.environment.prices), self.environment.price_cache, fresh_ms)

    def settings(self, paid: Cover) -> PlanSettings:
        """What holds for all groups, with what is paid for already."""
        return settings_of(self.environment.tag, paid)

    def scan(self, markets: Mapping[Pool, Market]) -> Scanned:
        """The whole fleet as it is now, with the markets of its pools."""
        environment = self.environment
        return scan_fleet(
            self.describe,
            account=environment.account or "",
            region=environment.region,
            at_ms=self.clock_ms(),
            tag=environment.tag,
            on_demand=self.on_demand_prices(),
            compute_percent=environment.compute_percent,
            markets=markets,
            types=self.types,
        )

    def driver(self) -> Driver:
        """Steps."""
        return Driver(
            self.describe,
            self.act,
            self.store,
            tag=self.environment.tag,
            settings=SagaSettings(),
            clock_ms=self.clock_ms,
            dry_run=self.environment.dry_run,
        )

    def require_ours(self, account: str, region: str) -> None:
        """Nothing, where a message is about our account and Region.

        Raises:
            ForeignError: It is not.
        """
        if (account, region) != (self.environment.account, self.environment.region):
            reason = f"it is about {account} in {region}, not {self.environment.account} in {self.environment.region}"
            raise ForeignError(reason)

    def wake(self, journal: GroupJournal, wait: Wait) -> None:
        """Sends the message that takes up a group after a wait."""
        body = SwapInstance(
            account=self.environment.account or "",
            region=self.environment.region,
            group=journal.group,
            wake=journal.wake,
        )
        self.clients.sqs.send_message(
            QueueUrl=self.environment.swapper_queue,
            MessageBody=encode(body),
            DelaySeconds=min(MAX_DELAY_S, -(-wait.delay_ms // 1_000)),
        )

    def report(self, driven: Driven) -> None:
        """Logs and counts how far a group came.

        Raises:
            UndoneError: It came to a call that it may not make.
            AmazonError: It came to a call that may do later.
        """
        group = driven.journal.group
        if driven.calls:
            self.logger.info("calls_made", group=group, calls=list(driven.calls))
        for call in driven.calls:
            self.count(f"Calls{call.title().replace('_', '')}")
        for refused in driven.refused:
            self.count("LaunchesRefused")
            self.logger.warning(
                "launch_refused",
                group=group,
                swap=refused.swap.swap_id,
                type=refused.swap.option.instance_type,
                zone=refused.zone,
                code=refused.code,
            )
        self.tell(facts for facts in map(self._refusal, driven.refused) if facts is not None)
        self._report_ended(driven)
        if driven.intended:
            self.logger.info("dry_run", group=group, would=driven.intended)
        if driven.wait:
            self.logger.info("swap_waits", group=group, reason=driven.wait.reason, delay_ms=driven.wait.delay_ms)
        if driven.error is not None:
            self.count("CallsFailed")
            self.logger.error("call_failed", group=group, error=str(driven.error), means=driven.error.refusal)
            if driven.error.refusal is Refusal.TRANSIENT or driven.journal.is_open:
                raise driven.error
            raise UndoneError(str(driven.error)) from driven.error

    def _report_ended(self, driven: Driven) -> None:
        for ended in driven.ended:
            self.count(f"Swaps{ended.outcome.title()}")
            self.logger.info(
                f"swap_{ended.outcome}",
                group=driven.journal.group,
                swap=ended.swap_id,
                original=ended.original_id,
                twin=ended.twin_id,
                purpose=ended.purpose,
                reason=ended.reason,
            )

    def _refusal(self, refused: RefusedLaunch) -> Facts | None:
        """What a refused launch says of its pool; a quota, and On-Demand capacity, say nothing of it."""
        option = refused.swap.option
        if not option.is_spot or refused.code not in tuple(CapacityError) or not refused.zone:
            return None
        launch = refused.swap.client_token
        return LaunchRefused(
            event_id=facts_id("refused", launch),
            account=self.environment.account or "",
            region=self.environment.region,
            at_ms=self.clock_ms(),
            instance_type=option.instance_type,
            zone=refused.zone,
            error=CapacityError(refused.code),
            launch=launch,
        )

    def tell(self, facts: Iterable[Facts]) -> None:
        """Puts facts on the stream of EC2's events, for the spot job, if there is one."""
        stream = self.environment.events_stream
        records = [{"Data": encode_facts(one), "PartitionKey": one.event_id} for one in facts] if stream else []
        if not records:
            return
        try:
            failed = self.clients.kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"]
        except CALL_FAILED as error:
            # Facts help the job to judge; no swap waits for them.
            self.logger.warning("facts_not_sent", records=len(records), error=str(error))
            return
        if failed:
            self.logger.warning("facts_not_sent", records=failed)

    def count(self, name: str, value: int = 1) -> None:
        """Counts."""
        self.metrics.add_metric(name, MetricUnit.Count, value)
