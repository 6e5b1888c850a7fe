"""An explanation in plain words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jobs.settings import Settings
from jobs.settings.durations import format_duration
from jobs.settings.toml_text import printable
from jobs.view import counted, utc

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_MOST_BLOCKS: Final = 60
_KILOBYTE: Final = 1024
_SHOWN_OF_KEY: Final = 48


def sparkline(values: Sequence[int]) -> str:
    """The values as blocks of eight heights; many values are shown by the highest of each few."""
    few = -(-len(values) // _MOST_BLOCKS)
    shown = [max(values[at : at + few]) for at in range(0, len(values), few or 1)]
    top = max(shown, default=0)
    return "".join(_BLOCKS[0 if not value else -(-value * len(_BLOCKS) // top) - 1] for value in shown)


def lines(told: Mapping[str, Any], settings: Settings, at_ms: int | None) -> Iterator[str]:
    """An explanation as `explanation` gives it, as lines of text; headings do not begin with a blank."""
    yield _verdict(told, at_ms)
    if told["also_in_tables"]:
        yield f"  (The same partition key is also in {', '.join(map(printable, told['also_in_tables']))}: --table)"
    yield ""
    yield "Why"
    yield from (f"  {line}" for line in _reasons(told))
    yield ""
    if told["evidence_from"] == "decision":
        yield "Who else was suspended, in the same window"
        yield from (f"  {line}" for line in _others(told["others_near"], "nobody"))
    else:
        yield f"Consumption in the window, by steps of {format_duration(settings.window.step_ms)}"
        yield from (f"  {line}" for line in _curve(told["curve"]))
        yield ""
        yield "What was written"
        yield from (f"  {line}" for line in _writes(told))
        yield ""
        yield "Who else was near, in the same window"
        yield from (f"  {line}" for line in _others(told["others_near"], "nobody wrote anything else"))
    yield ""
    yield "Lease history"
    yield from (f"  {line}" for line in _history(told))
    if told["evidence_from"] == "decision":
        yield ""
        yield "A live run keeps no writes: name a recording of the time with --recording for the curve and the items."
    if told["rules_problem"]:
        yield ""
        yield f"Limits beside those of decisions are the settings' own, for the rules are gone: {told['rules_problem']}"


def _verdict(told: Mapping[str, Any], at_ms: int | None) -> str:
    name = f"{printable(told['table'])} / {printable(told['partition_key'])}"
    decision = told["decision"]
    if decision is None:
        when = "" if at_ms is None else f" at {utc(at_ms)} UTC"
        return f"{name} was not suspended{when}."
    what = "had its suspension extended" if decision["kind"] == "extended" else "was suspended"
    return f"{name} {what} for {format_duration(decision['lease_ms'])} at {utc(decision['issued_at_ms'])} UTC."


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    window = told["window"]
    since = f"From {_clock(window['start_ms'])} to {_clock(window['step_end_ms'])}"
    consumed = f"{since} it consumed {window['consumed_wcu']:,} WCU with {counted(window['writes'], 'write')}."
    limit_wcu = window["limit_wcu"]
    if limit_wcu is None:
        yield f"{consumed} It is exempt by the rule {printable(window['rule'])!r}."
        return
    yield consumed
    version = "".join(
        f", {name.removeprefix('rule_')} {value}" for name, value in window.items() if name.startswith("rule_")
    )
    share = f"{window['consumed_wcu'] / limit_wcu:.0%}"
    length = format_duration(window["end_ms"] - window["start_ms"])
    of_window = f"{limit_wcu:,} WCU in {length} (rule: {printable(window['rule'])}{version})"
    yield f"That is {share} of its limit, {of_window}."
    if window["limit_reached_ms"] is not None:
        seconds = (window["step_end_ms"] - window["limit_reached_ms"]) / 1000
        yield f"The limit was reached in the second from {_clock(window['limit_reached_ms'])}, {seconds:g} s before."
    decision = told["decision"]
    if decision is not None:
        yield f"The lease ends by itself at {utc(decision['not_after_ms'])} UTC. Decision {decision['action_id']}."
    elif window["limit_reached_ms"] is not None:
        yield "A lease ran already, and needed no extension yet."


def _curve(curve: Sequence[Mapping[str, int]]) -> Iterator[str]:
    if not any(step["wcu"] for step in curve):
        yield "nothing"
        return
    yield f"so far    {sparkline([step['consumed_wcu'] for step in curve])}  {curve[-1]['consumed_wcu']:,} WCU"
    busiest = max(curve, key=lambda step: step["wcu"])
    most = f"{busiest['wcu']:,} WCU at most, by {_clock(busiest['step_end_ms'])}"
    yield f"each step {sparkline([step['wcu'] for step in curve])}  {most}"


def _writes(told: Mapping[str, Any]) -> Iterator[str]:
    if told["item_bytes"] is None:
        yield "nothing that counts"
    else:
        sizes = told["item_bytes"]
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in told["changes"].items())
        spread = f"{_size(sizes['smallest'])} to {_size(sizes['largest'])}, half of them from {_size(sizes['median'])}"
        yield f"{kinds}; items of {spread}"
        yield from _sort_keys(told)
    if told["late_not_counted"]:
        yield f"{counted(told['late_not_counted'], 'change')} more came too late to count"


def _sort_keys(told: Mapping[str, Any]) -> Iterator[str]:
    if all(each["sort_key"] is None for each in told["sort_keys"]):
        return
    names = [_cut(printable(str(each["sort_key"]))) for each in told["sort_keys"]]
    width = max(len("Sort key"), *map(len, names))
    yield f"{'Sort key':{width}}  {'Changes':>8}  {'WCU':>8}  {'Largest item':>12}"
    for name, each in zip(names, told["sort_keys"], strict=True):
        yield f"{name:{width}}  {each['changes']:>8,}  {each['wcu']:>8,}  {_size(each['largest_item_bytes']):>12}"
    more = told["distinct_sort_keys"] - len(names)
    if more > 0:
        yield f"... and {more:,} more"


def _others(others: Sequence[Mapping[str, Any]], nobody: str) -> Iterator[str]:
    if not others:
        yield nobody
    for each in others:
        share = each["consumed_wcu"] / each["limit_wcu"]
        name = f"{_cut(printable(each['table']))} / {_cut(printable(each['partition_key']))}"
        yield f"{share:>5.0%} of {each['limit_wcu']:,} WCU  {name}"


def _history(told: Mapping[str, Any]) -> Iterator[str]:
    if not told["lease_history"]:
        yield "never suspended in this recording"
    current = told["decision"]["action_id"] if told["decision"] else None
    for each in told["lease_history"]:
        mark = "  <- this" if each["action_id"] == current else ""
        lease = f"{format_duration(each['lease_ms']):>6} {each['kind']:9}"
        yield f"{utc(each['issued_at_ms'])} {lease}  {each['consumed_wcu']:>10,} WCU  {each['action_id'][:12]}{mark}"


def _clock(at_ms: int) -> str:
    """The time of day in UTC, to the millisecond where it is not a whole second."""
    fraction = f".{at_ms % 1000:03d}" if at_ms % 1000 else ""
    return utc(at_ms).partition(" ")[2] + fraction


def _size(size_bytes: int) -> str:
    return f"{size_bytes:,} B" if size_bytes < _KILOBYTE else f"{size_bytes / _KILOBYTE:,.1f} KB"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_OF_KEY else f"{text[:_SHOWN_OF_KEY]}..."
