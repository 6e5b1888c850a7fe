"""The settings that are compared: every combination of some limits, windows, steps, kinds and leases. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from pydantic import ValidationError

from jobs.settings import Settings, WindowKind
from jobs.settings.durations import MINUTE_MS, format_duration, parse_duration

LEASE_STEPS_JOINED_BY: Final = "/"
_SHARES_OF_LIMIT: Final = (0.25, 0.5, 0.75, 1, 1.5, 2)


class ChoicesError(ValueError):
    """Combinations that no settings can have; `problems` holds each once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Axes:
    """What is varied; nothing where the settings' own value holds."""

    limits_wcu: Sequence[int] = ()
    windows_ms: Sequence[int] = ()
    steps_ms: Sequence[int] = ()
    kinds: Sequence[WindowKind] = ()
    leases_ms: Sequence[tuple[int, ...]] = ()


def by_minute(settings: Settings, axes: Axes) -> Axes:
    """What is varied, looked at every minute where nothing else is asked for, as sums of minutes allow it.

    Raises:
        ChoicesError: A window, step or lease is no whole number of minutes.
    """
    lengths_ms = {
        ("--window", "window.size"): (axes.windows_ms, [settings.window.size_ms]),
        ("--step", "window.step"): (axes.steps_ms, []),
        ("--lease", "lease.steps"): (
            [each for steps_ms in axes.leases_ms for each in steps_ms],
            settings.lease.steps_ms,
        ),
    }
    problems = [
        f"{option if given else setting}: {format_duration(length_ms)} is not a whole number of minutes, of which a "
        f"usage ledger holds the sums; name another{'' if given else f' with {option}'}, or a recording"
        for (option, setting), (given, own) in lengths_ms.items()
        for length_ms in given or own
        if length_ms % MINUTE_MS
    ]
    if problems:
        raise ChoicesError(problems)
    own_step_ms = settings.window.step_ms
    return replace(axes, steps_ms=axes.steps_ms or (own_step_ms if own_step_ms % MINUTE_MS == 0 else MINUTE_MS,))


def at_step(settings: Settings, step_ms: int) -> Settings:
    """The settings with another step, or as they are where that cannot be."""
    try:
        return changed(settings, limit_wcu=settings.limits.default_wcu, window={"step_ms": step_ms})
    except ChoicesError:
        return settings


def combinations(settings: Settings, axes: Axes) -> list[Settings]:
    """All combinations, by window, then lease, then limit.

    Where no limits are given, they are some below and above the one that is set.

    Raises:
        ChoicesError: Some cannot be settings.
    """
    limits_wcu = axes.limits_wcu or around(settings.limits.default_wcu)
    window, lease = settings.window, settings.lease
    windows = product(
        axes.kinds or [window.kind], axes.windows_ms or [window.size_ms], axes.steps_ms or [window.step_ms]
    )
    chosen: list[Settings] = []
    problems: dict[str, None] = {}
    for (kind, size_ms, step_ms), lease_ms in product(windows, axes.leases_ms or [lease.steps_ms]):
        for limit_wcu in limits_wcu:
            given = {"kind": kind, "size_ms": size_ms, "step_ms": step_ms}
            try:
                choice = changed(settings, limit_wcu=limit_wcu, window=given, lease_ms=lease_ms)
            except ChoicesError as error:
                problems |= dict.fromkeys(error.problems)
            else:
                chosen += [choice] if choice not in chosen else []
    if problems:
        raise ChoicesError(list(problems))
    return chosen


def changed(
    settings: Settings, *, limit_wcu: int, window: dict[str, Any] | None = None, lease_ms: Sequence[int] | None = None
) -> Settings:
    """The settings with another default limit, and with another window and lease where these are given.

    Raises:
        ChoicesError: That cannot be settings.
    """
    values = settings.model_dump(exclude_unset=True)
    values["limits"] = settings.limits.model_dump() | {"default_wcu": limit_wcu}
    values["window"] = settings.window.model_dump() | (window or {})
    values["lease"] = settings.lease.model_dump() | ({} if lease_ms is None else {"steps_ms": tuple(lease_ms)})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ChoicesError([_problem(each) for each in error.errors()]) from error


def _problem(error: Any) -> str:
    where = ".".join(str(part).removesuffix("_ms") for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{where}.{message}" if where else message
    return f"{where}: {message} (it is {error['input']})"


def around(limit_wcu: int) -> list[int]:
    """Some limits below and above one."""
    return sorted({max(1, round(limit_wcu * share)) for share in _SHARES_OF_LIMIT})


def read_limits(text: str) -> list[int]:
    """Limits as `--limit` takes them: "2000,4000,8000".

    Raises:
        ValueError: With what is wrong.
    """
    return list(map(_limit, _listed(text)))


def read_durations(text: str) -> list[int]:
    """Durations as `--window` and `--step` take them: "1m,2m".

    Raises:
        ValueError: With what is wrong.
    """
    return list(map(_duration, _listed(text)))


def read_leases(text: str) -> list[tuple[int, ...]]:
    """Leases as `--lease` takes them, the steps of one joined by a slash: "2m/5m/10m,1m".

    Raises:
        ValueError: With what is wrong.
    """
    return [tuple(map(_duration, each.split(LEASE_STEPS_JOINED_BY))) for each in _listed(text)]


def lease_text(steps_ms: Iterable[int]) -> str:
    """A lease as `read_leases` reads it."""
    return LEASE_STEPS_JOINED_BY.join(map(format_duration, steps_ms))


def read_kinds(text: str) -> list[WindowKind]:
    """Kinds of window as `--kind` takes them: "cumulate,hop".

    Raises:
        ValueError: With what is wrong.
    """
    known = [kind.value for kind in WindowKind]
    if unknown := [part for part in _listed(text) if part not in known]:
        message = f"{unknown[0]!r} is not a kind of window; those are {' and '.join(known)}"
        raise ValueError(message)
    return [WindowKind(part) for part in _listed(text)]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _limit(text: str) -> int:
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or not int(digits):
        message = f"{text!r} is not a limit; write whole numbers of WCU: 2000,4000,8000"
        raise ValueError(message)
    return int(digits)


def _duration(text: str) -> int:
    duration_ms = parse_duration(text)
    if duration_ms is None:
        message = f"{text!r} is not a duration; write it like 90s, 2m or 1m30s, several with commas between them"
        raise ValueError(message)
    return duration_ms
