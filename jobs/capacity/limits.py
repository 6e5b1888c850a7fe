"""Limits: how much write capacity a partition key may consume in one window, by the most specific rule.

Pure: settings in, limits out.
"""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from jobs.settings import LimitRule, LimitsSettings

# Keys near their limit are few and come back at every step. A key has at most 2 KiB, so all stay under 10 MB.
_REMEMBERED_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Limit:
    """What one partition key may consume in one window.

    `wcu` and `warn_wcu` are None for a key that is exempt. `rule` says where the limit comes from: `default`,
    a table, or a table and a pattern (`conversations/tenant-0001*`).
    """

    wcu: int | None
    warn_wcu: int | None
    rule: str


@dataclass(frozen=True, slots=True)
class _TableLimits:
    patterns: tuple[tuple[re.Pattern[str], Limit], ...]  # the most specific first
    otherwise: Limit


class Limits:
    """The limits of all partition keys.

    A rule for a pattern of keys in a table wins over a rule for the table, and that over the default. Among
    the patterns that match a key, the one with more literal characters wins, then the earlier one.
    """

    def __init__(self, settings: LimitsSettings) -> None:
        self._settings = settings
        self._default = _limit(settings.default_wcu, settings.warn_ratio, "default")
        self._tables = _tables(settings, self._default)
        self._remembered = lru_cache(_REMEMBERED_KEYS)(self._find)

    def __reduce__(self) -> tuple[type["Limits"], tuple[LimitsSettings]]:
        # Flink sends operators to its workers pickled; what is compiled and remembered is made again there.
        return Limits, (self._settings,)

    def limit_for(self, table: str, partition_key: str) -> Limit:
        """The limit of one partition key."""
        return self._remembered(table, partition_key)

    @property
    def lowest_warn_wcu(self) -> int:
        """The capacity below which no key of any table is near its limit."""
        lowest = (self._default.warn_wcu, *self.lowest_warn_wcu_by_table.values())
        return min(warn_wcu for warn_wcu in lowest if warn_wcu is not None)

    @property
    def default_warn_wcu(self) -> int | None:
        """The capacity below which no key is near its limit, in tables without a rule."""
        return self._default.warn_wcu

    @property
    def lowest_warn_wcu_by_table(self) -> dict[str, int | None]:
        """The same for each table with a rule; None where all of its keys are exempt."""
        return {name: _lowest_warn_wcu(table) for name, table in self._tables.items()}

    def _find(self, table: str, partition_key: str) -> Limit:
        limits = self._tables.get(table)
        if limits is None:
            return self._default
        return next((limit for pattern, limit in limits.patterns if pattern.match(partition_key)), limits.otherwise)


def _lowest_warn_wcu(table: _TableLimits) -> int | None:
    limits = (table.otherwise, *(limit for _, limit in table.patterns))
    return min((limit.warn_wcu for limit in limits if limit.warn_wcu is not None), default=None)


def _tables(settings: LimitsSettings, default: Limit) -> dict[str, _TableLimits]:
    rules: dict[str, list[LimitRule]] = defaultdict(list)
    for rule in settings.rules:
        rules[rule.table].append(rule)
    return {table: _table_limits(table, of_table, settings.warn_ratio, default) for table, of_table in rules.items()}


def _table_limits(table: str, rules: Iterable[LimitRule], warn_ratio: Decimal, default: Limit) -> _TableLimits:
    otherwise = default
    patterns: list[tuple[str, Limit]] = []
    for rule in rules:
        wcu = None if rule.exempt else rule.wcu
        if rule.partition_key is not None:
            patterns.append((rule.partition_key, _limit(wcu, warn_ratio, f"{table}/{rule.partition_key}")))
        else:
            otherwise = _limit(wcu, warn_ratio, table)
    patterns.sort(key=lambda pattern: -_literal_characters(pattern[0]))  # stable: the earlier rule stays first
    return _TableLimits(tuple((_compiled(text), limit) for text, limit in patterns), otherwise)


def _limit(wcu: int | None, warn_ratio: Decimal, rule: str) -> Limit:
    return Limit(wcu, None if wcu is None else _warn_wcu(wcu, warn_ratio), rule)


def _warn_wcu(wcu: int, warn_ratio: Decimal) -> int:
    # In integers, because 0.8 has no exact float and Decimal arithmetic rounds by its context. At least 1, as
    # both are above 0.
    numerator, denominator = warn_ratio.as_integer_ratio()
    return -(-wcu * numerator // denominator)


def _literal_characters(pattern: str) -> int:
    return sum(character not in "*?" for character in pattern)


def _compiled(pattern: str) -> re.Pattern[str]:
    # fnmatch's translation never backtracks over a star, so no key can make matching slow. It also knows sets
    # in brackets, which patterns here do not have.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
