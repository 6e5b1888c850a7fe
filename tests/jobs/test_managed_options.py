"""On the managed service no option of Flink is set that it would refuse."""

import pytest

from jobs.execution import ExecutionMode
from jobs.runtime import managed_options

# Source: https://docs.aws.amazon.com/managed-flink/latest/java/programmatic-configuration.html, read in November 2026:
# its sections on pipelines and Python, which are whole here, and what else of it was looked up.
ALLOWED = {
    "execution.runtime-mode",
    "pipeline.auto-generate-uids",
    "pipeline.auto-watermark-interval",
    "pipeline.cached-files",
    "pipeline.classpaths",
    "pipeline.closure-cleaner-level",
    "pipeline.force-avro",
    "pipeline.force-kryo",
    "pipeline.generic-types",
    "pipeline.global-job-parameters",
    "pipeline.jars",
    "pipeline.jobvertex-parallelism-overrides",
    "pipeline.max-parallelism",
    "pipeline.name",
    "pipeline.object-reuse",
    "pipeline.operator-chaining.chain-operators-with-different-max-parallelism",
    "pipeline.operator-chaining.enabled",
    "pipeline.serialization-config",
    "pipeline.vertex-description-mode",
    "pipeline.vertex-name-include-index-prefix",
    "pipeline.watermark-alignment.allow-unaligned-source-splits",
    "python.execution-mode",
    "python.operator-chaining.enabled",
    "python.job-options",
    "python.internal.archives-key-map",
    "python.internal.files-key-map",
    "python.internal.requirements-file-key",
    "table.exec.source.idle-timeout",
    "table.exec.state.ttl",
}


SETTERS = (
    "Configuration(",
    ".set_string(",
    ".get_config()",
    ".configure(",
    "enable_checkpointing(",
    "get_checkpoint_config(",
    "set_restart_strategy(",
    "set_state_backend(",
)


@pytest.mark.parametrize("mode", ExecutionMode)
def test_every_option_that_is_set_is_on_the_list_of_the_service(mode: ExecutionMode) -> None:
    options = managed_options(mode)
    assert options
    assert set(options) <= ALLOWED


@pytest.mark.parametrize("capability", ["capacity", "usage", "spot"])
def test_nothing_else_sets_options_where_the_job_is_built(capability: str) -> None:
    # What the entry of the managed service reaches, apart from the one place that knows where a job runs.
    from jobs.package.build import PROJECT_ROOT
    from jobs.package.reach import reached_from

    reached = reached_from([f"jobs.{capability}.managed"], PROJECT_ROOT)
    assert f"jobs/{capability}/managed.py" in reached.files
    for name, path in reached.files.items():
        # A recording is read where a package is checked, and not on the service.
        if name.endswith(".py") and name not in ("jobs/runtime.py", "jobs/capacity/recorded_stream.py"):
            text = path.read_text(encoding="utf-8")
            for call in SETTERS:
                assert call not in text, name
