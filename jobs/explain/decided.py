"""The evidence that decisions themselves hold, of a run that does not keep what was written. Pure."""

from collections.abc import Sequence

from jobs.capacity.limits import Limit
from jobs.explain.evidence import MOST_OTHERS, Look, Other, nearest_first
from jobs.explain.subject import Subject
from jobs.report.decisions import Decision


def look_at_decision(decision: Decision) -> Look:
    """The window as the decision alone tells it, where what was written is not known: without a curve."""
    evidence = decision.action["evidence"]
    return Look(
        window_start_ms=evidence["window_start_ms"],
        window_end_ms=evidence["window_end_ms"],
        step_end_ms=decision.action["issued_at_ms"],
        consumed_wcu=evidence["consumed_wcu"],
        writes=evidence["writes"],
        limit=Limit(evidence["limit_wcu"], None, evidence["rule"]),
        reached_ms=None,
        curve=(),
    )


def others_decided(subject: Subject, decisions: Sequence[Decision]) -> list[Other]:
    """The other keys about which something was decided in the same window until then, with their last totals."""
    if subject.decision is None:
        return []
    at_ms = subject.decision.action["issued_at_ms"]
    start_ms = subject.decision.action["evidence"]["window_start_ms"]
    last = {each.key: each.action for each in decisions if start_ms < each.action["issued_at_ms"] <= at_ms}
    found = (
        Other(*key, action["evidence"]["consumed_wcu"], action["evidence"]["limit_wcu"])
        for key, action in last.items()
        if key != subject.key[:2]
    )
    return sorted(found, key=nearest_first)[:MOST_OTHERS]
