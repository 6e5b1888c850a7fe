"""The model of all settings: names, types, units, defaults, ranges and what may stand together. Pure.

In TOML a setting has the name of its field; a duration, held here as milliseconds in `size_ms`, is written
there with its unit and without the suffix: `size = "2m"`.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from jobs.settings.aws import FilePath, KinesisSettings, RegionName, SqsSettings, StreamName, Url, url_conflicts
from jobs.settings.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from jobs.settings.section import Conflict, DurationMs, Flag, Section, Unit, quoted
from jobs.settings.spot import SpotSettings
from jobs.settings.toml_text import shown

SHORTEST_STEP_MS = 100
MOST_STEPS = 1_000
# With at most six decimals in a ratio, wcu * ratio fits the 28 digits of Decimal's arithmetic: it is exact.
LARGEST_WCU = 10**12
MOST_DECIMALS = 6


def _without_text(value: object) -> object:
    """The value, for pydantic to convert: text would pass as a number, though TOML has numbers of its own."""
    if isinstance(value, str):
        message = "a number is not written in quotes"
        raise ValueError(message)
    return value


Wcu = Annotated[int, Unit("WCU per window"), Field(ge=1, le=LARGEST_WCU)]
Ratio = Annotated[
    Decimal,
    Unit("ratio"),
    BeforeValidator(_without_text),
    Field(strict=False, gt=0, le=1, decimal_places=MOST_DECIMALS),
]
TableName = Annotated[str, Unit("table name"), Field(min_length=1)]
AttributeName = Annotated[str, Unit("attribute name"), Field(min_length=1)]
Location = Annotated[str, Unit("path or URL"), Field(min_length=1)]
Pattern = Annotated[str, Unit("pattern"), Field(min_length=1)]


class WindowKind(StrEnum):
    """How windows follow one another."""

    CUMULATE = "cumulate"
    HOP = "hop"


class WeighImages(StrEnum):
    """When the images of a change are weighed."""

    WHEN_NEEDED = "when_needed"
    ALWAYS = "always"


class WindowSettings(Section):
    """The window over which write capacity is added up."""

    size_ms: DurationMs = Field(
        default=2 * MINUTE_MS,
        ge=SHORTEST_STEP_MS,
        le=DAY_MS,
        description="Length of the window in which the write capacity of each partition key is added up.",
    )
    step_ms: DurationMs = Field(
        default=5 * SECOND_MS,
        ge=SHORTEST_STEP_MS,
        le=DAY_MS,
        description=f"Event time between two looks inside the window; size is a multiple of it, "
        f"at most {MOST_STEPS} times.",
    )
    kind: Annotated[WindowKind, Unit("word"), Field(strict=False)] = Field(
        default=WindowKind.CUMULATE,
        description="cumulate: one window after the other, each total growing step by step; "
        "hop: at every step ends a window of the full size.",
    )
    out_of_orderness_ms: DurationMs = Field(
        default=2 * SECOND_MS,
        ge=0,
        le=HOUR_MS,
        description="How far behind the newest change a change may come and still count; "
        "any later one is late and suspends nobody.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A size that is no whole number of steps, or too many of them."""
        size_ms, step_ms = values.get("size_ms"), values.get("step_ms")
        if size_ms is None or step_ms is None:
            return
        size, step = quoted(size_ms), quoted(step_ms)
        if size_ms % step_ms:
            below_ms = size_ms - size_ms % step_ms
            multiples_ms = [each_ms for each_ms in (below_ms, below_ms + step_ms) if 0 < each_ms <= DAY_MS]
            nearest = " or ".join(quoted(each_ms) for each_ms in multiples_ms)
            yield Conflict(("size",), f"{size} is not a multiple of window.step, {step}; nearest: {nearest}")
        if size_ms > MOST_STEPS * step_ms:
            yield Conflict(("size",), f"{size} has more than {MOST_STEPS} steps of {step} (window.step)")


class LimitRule(Section):
    """A limit for a table, or for some of its partition keys."""

    table: TableName = Field(description="Table that the rule is for, by its exact name.", examples=["conversations"])
    partition_key: Pattern | None = Field(
        default=None,
        description="Partition keys that the rule is for: `*` stands for any characters, `?` for one, "
        "everything else for itself. Without it: all of the table.",
        examples=["tenant-0001*"],
    )
    wcu: Wcu | None = Field(
        default=None,
        description="Write capacity units at which each of these partition keys is over its limit.",
        examples=[12_000],
    )
    exempt: Flag = Field(
        default=False,
        description="true, in place of wcu: these partition keys are never warned about or suspended.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A rule that says nothing or two things, or a pattern where only a name can match."""
        if "wcu" in values and "exempt" in values:
            if values["exempt"] and values["wcu"] is not None:
                yield Conflict((), "wcu and exempt = true exclude each other; keep one of them")
            if not values["exempt"] and values["wcu"] is None:
                yield Conflict((), "sets no limit; give wcu, or exempt = true")
        table = values.get("table", "")
        if "*" in table or "?" in table:
            text = f"{shown(table)} can match no table; a table is given by its exact name, not by a pattern"
            yield Conflict(("table",), text)


class LimitsSettings(Section):
    """How much a partition key may consume."""

    default_wcu: Wcu = Field(
        default=6_000,
        description="Write capacity units at which a partition key that no rule is for is over its limit.",
    )
    warn_ratio: Ratio = Field(
        default=Decimal("0.8"),
        description="Part of its limit from which a partition key is reported as near it.",
    )
    rules: tuple[LimitRule, ...] = Field(
        default=(),
        description="Limits of their own for tables and partition keys. The most specific rule wins: "
        "table and partition key, then table, then default_wcu.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """Rules for the same table and pattern."""
        first_at: dict[tuple[str, str | None], int] = {}
        for at, rule in enumerate(values.get("rules", ())):
            if rule is None or "table" not in rule or "partition_key" not in rule:
                continue
            subject = rule["table"], rule["partition_key"]
            if first_at.setdefault(subject, at) != at:
                first = f"limits.rules[{first_at[subject]}]"
                text = f"has the table and partition_key of {first} again; keep one of them"
                yield Conflict(("rules", at), text)


class LeaseSettings(Section):
    """How long a suspension lasts."""

    steps_ms: tuple[Annotated[DurationMs, Field(ge=SHORTEST_STEP_MS, le=DAY_MS)], ...] = Field(
        default=(2 * MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS),
        min_length=1,
        description="How long the first suspension lasts, the second, and so on; the last is for all that "
        "follow. None is shorter than window.step or the one before.",
    )
    decay_ms: DurationMs = Field(
        default=HOUR_MS,
        ge=0,
        le=365 * DAY_MS,
        description="Time without offence after a suspension until the next is again as short as the first.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A suspension that is shorter than the one before."""
        for at, (before_ms, after_ms) in enumerate(pairwise(values.get("steps_ms", ())), start=1):
            if before_ms is not None and after_ms is not None and after_ms < before_ms:
                text = f"{quoted(after_ms)} is shorter than the one before it, {quoted(before_ms)}"
                yield Conflict(("steps", at), text)


class TableSettings(Section):
    """What the change stream does not say of a table."""

    partition_key: AttributeName | None = Field(
        default=None,
        description="Attribute that is the partition key: needed where the table has a sort key too, "
        "for the stream does not say which is which.",
        examples=["pk"],
    )
    transactional: Flag = Field(
        default=False,
        description="true: the table is written in transactions, where each write costs twice the capacity.",
    )


class DecodeSettings(Section):
    """How change records are read."""

    weigh_images: Annotated[WeighImages, Unit("word"), Field(strict=False)] = Field(
        default=WeighImages.WHEN_NEEDED,
        description="always: weigh both images of each change and compare with its recorded size; "
        "when_needed: only where that size leaves the cost open.",
    )
    future_tolerance_ms: DurationMs = Field(
        default=HOUR_MS,
        ge=SECOND_MS,
        le=DAY_MS,
        description="How far ahead of the newest arrival the time of a change may be; a change beyond it is malformed.",
    )


class UsageSink(StrEnum):
    """Where the rows of the usage ledger go."""

    PARQUET = "parquet"
    FIREHOSE = "firehose"


class UsageSettings(Section):
    """The usage ledger."""

    horizon_ms: DurationMs = Field(
        default=DAY_MS,
        ge=MINUTE_MS,
        le=32 * DAY_MS,
        description="How long an eventID is remembered, so that no copy of its change that arrives meanwhile is "
        "counted; 28 bytes are held for each.",
    )
    sink: Annotated[UsageSink, Unit("word"), Field(strict=False)] = Field(
        default=UsageSink.PARQUET,
        description="parquet: files in ledger; firehose: the same rows to the Data Firehose stream in delivery_stream. "
        "A replay always writes files, below its --out.",
    )
    ledger: Location = Field(
        default="headroom-ledger",
        description="Where the ledger is kept: a directory, or s3://bucket/prefix.",
    )
    delivery_stream: StreamName = Field(
        default="headroom-usage", description="Data Firehose stream that rows go to where sink is firehose."
    )
    region: RegionName | None = Field(
        default=None,
        description="Region of the ledger's bucket and the Data Firehose stream; without it that of any AWS client "
        "(AWS_REGION).",
        examples=["eu-west-1"],
    )
    endpoint_url: Url | None = Field(
        default=None,
        description="Endpoint of both in place of AWS's own, for emulators and VPC endpoints.",
        examples=["http://localhost:5000"],
    )
    file_span_ms: DurationMs = Field(
        default=15 * MINUTE_MS,
        ge=MINUTE_MS,
        le=HOUR_MS,
        description="Time whose rows one file holds; an hour is a whole number of spans, a span one of minutes. "
        "A file appears when its span is over.",
    )
    buckets: Annotated[int, Unit("files"), Field(ge=1, le=256)] = Field(
        default=4,
        description="Into how many files the partition keys of a table are dealt in each span; fixed for the life of a "
        "ledger.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A span that does not divide the hour into whole minutes, or an endpoint that is no address."""
        span_ms = values.get("file_span_ms")
        if span_ms is not None and (HOUR_MS % span_ms or span_ms % MINUTE_MS):
            yield Conflict(("file_span",), f"{quoted(span_ms)} does not divide an hour into spans of whole minutes")
        yield from url_conflicts("endpoint_url", values.get("endpoint_url"))


class RulesSettings(Section):
    """Where rules come from that change while a job runs."""

    file: FilePath | None = Field(
        default=None,
        description="File of versions of the rules (limits, shadow, lease), which a live run watches and a replay "
        "follows in event time.",
        examples=["rules.toml"],
    )
    stream: StreamName | None = Field(
        default=None,
        description="Stream on which a live run gets such files as records, and watches no file; in the Region of "
        "kinesis.",
        examples=["headroom-rules"],
    )
    check_ms: DurationMs = Field(
        default=5 * SECOND_MS,
        ge=SECOND_MS,
        le=HOUR_MS,
        description="How often a live run looks whether the file has changed.",
    )
    lowest_warn_wcu: Wcu = Field(
        default=1_000,
        description="Write capacity units below which no version may begin to warn: totals below it, and below the "
        "limits in these settings, stay inside Flink.",
    )


class Settings(Section):
    """All settings."""

    shadow: Flag = Field(default=False, description="true: make every decision and send none.")
    window: WindowSettings = Field(
        default=WindowSettings(), description="The window over which write capacity is added up."
    )
    limits: LimitsSettings = Field(
        default=LimitsSettings(), description="How much a partition key may consume in a window."
    )
    lease: LeaseSettings = Field(default=LeaseSettings(), description="A suspension is a lease: it ends by itself.")
    decode: DecodeSettings = Field(default=DecodeSettings(), description="How change records are read.")
    usage: UsageSettings = Field(default=UsageSettings(), description="The usage ledger.")
    kinesis: KinesisSettings = Field(default=KinesisSettings(), description="The stream that a live run reads.")
    sqs: SqsSettings = Field(default=SqsSettings(), description="Where a live run sends suspensions.")
    rules: RulesSettings = Field(
        default=RulesSettings(), description="Where rules come from that change while a job runs."
    )
    tables: dict[str, TableSettings] = Field(
        default_factory=dict,
        description="What the change stream does not say of a table, by the table's name.",
        examples=["conversations"],
    )
    spot: SpotSettings = Field(
        default=SpotSettings(), description="When a Spot Instance is replaced, and a Spot pool given up and used again."
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """Suspensions that would lapse before they can be extended, or a table without a name."""
        step_ms = values.get("window", {}).get("step_ms", 0)
        for at, lease_ms in enumerate(values.get("lease", {}).get("steps_ms", ())):
            if lease_ms is not None and lease_ms < step_ms:
                text = f"{quoted(lease_ms)} is shorter than window.step, {quoted(step_ms)}"
                yield Conflict(("lease", "steps", at), f"{text}; it would lapse before it can be extended")
        if "" in values.get("tables", ()):
            yield Conflict(("tables", ""), "a table has a name")
