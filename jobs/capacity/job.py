"""The capacity job as a graph: decoded change records in, outcomes out. The same for live, replay and tests."""

from importlib.resources import files
from string import Template

from pyflink.table import Table
from pyflink.table.expressions import col, lit

from jobs.capacity.decoded_stream import DecodedStream
from jobs.capacity.limits import Limits
from jobs.capacity.operators import OUTCOME_TYPE, Decide
from jobs.capacity.outcomes import OutcomeKind
from jobs.runtime import Environment
from jobs.settings import Settings


def build(environment: Environment, decoded: DecodedStream, settings: Settings) -> Table:
    """The outcomes of a decoded stream, as rows of kind and line."""
    tables = environment.tables
    tables.create_temporary_view("write_costs", decoded.write_costs)
    totals = tables.to_data_stream(tables.sql_query(sql("windows.sql", settings)))
    decided = (
        totals.key_by(lambda total: (total[0], total[1], total[2]))
        .process(Decide(settings), output_type=OUTCOME_TYPE)
        .name("decide")
        .uid("decide")
    )
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
        lowest_warn_wcu=Limits(settings.limits).lowest_warn_wcu,
    )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}.{duration_ms % 1000:03d}"
