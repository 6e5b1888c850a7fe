"""What the passes come to: medians, ratios, and who found what. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.competitors import Competitor
from bench.crossings import Crossing
from bench.measure import Measured


@dataclass(frozen=True, slots=True)
class Attempt:
    """A competitor in one pass; `found` is None where it failed."""

    competitor: Competitor
    records: int
    measured: Measured
    found: frozenset[Crossing] | None

    @property
    def events_per_s(self) -> float:
        """Records by the whole time of the process."""
        return self.records / self.measured.wall_s


@dataclass(frozen=True, slots=True)
class Standing:
    """A competitor over all passes, each figure the median of them.

    Attributes:
        ratio: Its events a second to those of the all-JVM job, the faster one of the same pass.
        agreement: How what it found compares with what was expected, in words.
    """

    competitor: Competitor
    records: int
    wall_s: float
    events_per_s: float
    ratio: float | None
    cpu_s: float
    peak_bytes: float
    agreement: str


def standing(
    competitor: Competitor, passes: Sequence[Sequence[Attempt]], expected: frozenset[Crossing]
) -> Standing | None:
    """A competitor's standing; None where it failed in every pass."""
    attempts: list[Attempt] = []
    ratios: list[float] = []
    for attempted in passes:
        succeeded = [attempt for attempt in attempted if attempt.found is not None]
        base = max((attempt.events_per_s for attempt in succeeded if attempt.competitor.is_all_jvm), default=None)
        own = [attempt for attempt in succeeded if attempt.competitor is competitor]
        attempts += own
        if base is not None:
            ratios += [attempt.events_per_s / base for attempt in own]
    if not attempts:
        return None
    words = {agreement(attempt.found or frozenset(), expected) for attempt in attempts}
    return Standing(
        competitor=competitor,
        records=attempts[0].records,
        wall_s=median(attempt.measured.wall_s for attempt in attempts),
        events_per_s=median(attempt.events_per_s for attempt in attempts),
        ratio=median(ratios) if ratios else None,
        cpu_s=median(attempt.measured.cpu_s for attempt in attempts),
        peak_bytes=median(attempt.measured.peak_bytes for attempt in attempts),
        agreement=" / ".join(sorted(words)),
    )


def agreement(found: frozenset[Crossing], expected: frozenset[Crossing]) -> str:
    """How two findings compare: "same", or what is different."""
    if found == expected:
        return f"same, {len(_keys(found))}"
    missing, more = _keys(expected) - _keys(found), _keys(found) - _keys(expected)
    if not missing and not more:
        return f"same, {len(_keys(found))}; {len(found ^ expected)} steps DIFFER"
    return f"DIFFERENT: {len(missing)} missing, {len(more)} more"


def _keys(found: frozenset[Crossing]) -> set[tuple[str, str]]:
    return {(each.table, each.partition_key) for each in found}
