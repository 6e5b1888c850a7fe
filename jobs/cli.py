"""The `headroom` command."""

import logging
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from jobs.cache_command import cache
from jobs.completion_command import completion
from jobs.config_command import config
from jobs.doctor_command import doctor
from jobs.explain.command import explain
from jobs.generate.command import generate
from jobs.hot_keys.command import hot_keys
from jobs.inspect_command import inspect
from jobs.options import EXIT_FAILED
from jobs.package.command import package
from jobs.record_command import record
from jobs.replay_command import replay
from jobs.report.command import report
from jobs.run_command import run
from jobs.spot_command import spot
from jobs.tune.command import tune
from jobs.up_command import up
from jobs.usage.command import usage

_EXIT_INTERRUPTED: Final = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="headroom")
def cli() -> None:
    """Keep AWS capacity within limits, from the events that AWS already emits: DynamoDB writes and Spot Instances.

    \b
    Examples:
      headroom up                        the whole loop on this machine, to watch
      headroom generate day.jsonl.gz     make up a recording
      headroom replay day.jsonl.gz       who would have been suspended, when and why
      headroom explain tenant-000221     the evidence behind it
      headroom report                    the same as a page
      headroom tune day.jsonl.gz         what other limits would have done
      headroom inspect day.jsonl.gz      what each record cost
      headroom usage list                what can be billed from a ledger of it
      headroom run capacity --config headroom.toml

    \b
    Exit status: 0 done, 1 failed, 2 a mistake in the command, a setting or a path, 130 interrupted.
    """  # noqa: D301 - click looks for the character that the escape stands for
    # boto3 alone of AWS's clients does not go by AWS_REGION.
    if region := os.environ.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)


for command in (
    replay,
    explain,
    report,
    tune,
    hot_keys,
    inspect,
    generate,
    usage,
    spot,
    config,
    record,
    run,
    up,
    doctor,
    package,
    cache,
    completion,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line, and end the process without PyFlink's threads having a word."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is half written is taken away
    logging.getLogger().addFilter(_is_not_raised_too)
    try:
        exit_code = cli.main(standalone_mode=False) or 0
    except click.exceptions.Exit as error:
        exit_code = error.exit_code
    except click.ClickException as error:
        error.show()
        exit_code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("headroom: interrupted", err=True)
        exit_code = _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough (`| head`); there is nobody left to tell.
        os._exit(0)
    except SystemExit as error:
        exit_code = error.code if isinstance(error.code, int) else EXIT_FAILED
    except Exception as error:
        # A user is told what failed; the rest is for whoever is told of it.
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        click.echo(f"headroom: {what} (details {_keep_traceback()})", err=True)
        exit_code = EXIT_FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    if "jobs.runtime" in sys.modules:
        sys.modules["jobs.runtime"].remove_scratch()
    # gRPC threads of PyFlink that outlive the interpreter's shutdown print tracebacks at a normal exit.
    os._exit(exit_code)


def _is_not_raised_too(record: logging.LogRecord) -> bool:
    """Whether a record is anything but a traceback of py4j, which raises what it logs."""
    return "py4j" not in Path(record.pathname).parts


def _keep_traceback() -> str:
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile("w", prefix="headroom-", suffix=".log", delete=False) as file,
    ):
        traceback.print_exc(file=file)
        return f"in {file.name}"
    return "nowhere: no temporary file can be written"


if __name__ == "__main__":
    main()
