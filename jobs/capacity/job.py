"""The capacity job as a graph: decoded change records in, outcomes out. The same for live, replay and tests."""

from importlib.resources import files
from string import Template

from pyflink.datastream import DataStream
from pyflink.table import Table
from pyflink.table.expressions import col, lit

from jobs.capacity.decoded_stream import DecodedStream
from jobs.capacity.live_rules import VERSIONS_STATE, DecideByArrivingRules
from jobs.capacity.operators import OUTCOME_TYPE, TEXTS_OF_TOTALS, Decide, key_of_total
from jobs.capacity.outcomes import OutcomeKind
from jobs.capacity.rules import Timeline, near_limit_condition, read_rules
from jobs.runtime import Environment
from jobs.settings import Settings
from jobs.text_as_bytes import text_as_bytes


def build(
    environment: Environment, decoded: DecodedStream, settings: Settings, rules: DataStream | None = None
) -> Table:
    """The outcomes of a decoded stream, as rows of kind and line.

    Args:
        environment: Where to build.
        decoded: What was written.
        settings: All settings.
        rules: Files of rules as they come, see `jobs.capacity.live_rules`; without it the versions in the file that the
            settings name are followed in event time.

    Raises:
        RulesError: That file cannot be used.
    """
    tables = environment.tables
    tables.create_temporary_view("write_costs", decoded.write_costs)
    query = tables.sql_query(sql("windows.sql", settings))
    totals = tables.to_data_stream(text_as_bytes(query, TEXTS_OF_TOTALS))
    by_key = totals.key_by(key_of_total)
    if rules is None:
        decided = by_key.process(Decide(settings, Timeline(settings, read_rules(settings))), output_type=OUTCOME_TYPE)
    else:
        arriving = by_key.connect(rules.broadcast(VERSIONS_STATE))
        decided = arriving.process(DecideByArrivingRules(settings), output_type=OUTCOME_TYPE)
    decided.name("decide").uid("decide")
    # Keys near their limit are few, and one subtask's worth of Python is enough for them.
    decided.set_parallelism(1)
    reports = decoded.reports.select(lit(OutcomeKind.REPORT.value), col("report"))
    return tables.from_data_stream(decided).union_all(reports)


def sql(file: str, settings: Settings) -> str:
    """A query of this package, from its SQL file, with the settings in their places."""
    window = settings.window
    return Template(files(__package__).joinpath(file).read_text(encoding="utf-8")).substitute(
        window_function=window.kind.upper(),
        step_ms=window.step_ms,
        step_s=_seconds(window.step_ms),
        size_s=_seconds(window.size_ms),
        total_is_near_limit=near_limit_condition(settings, "consumed_wcu"),
        sum_is_near_limit=near_limit_condition(settings, "SUM(wcu)"),
    )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}.{duration_ms % 1000:03d}"
