"""The commands of `headroom package`."""

from pathlib import Path

import click

from jobs.options import EXIT_FAILED, open_settings, refuse
from jobs.package.build import PROJECT_ROOT, BuildError, Built, build
from jobs.package.check import check
from jobs.package.flink_environment import EnvironmentMissingError
from jobs.package.lock import LockError
from jobs.package.run import CheckError
from jobs.package.targets import TARGETS
from jobs.package.wheels import WheelError, kept_wheels
from jobs.settings.properties import PropertiesError

_MIB = 1024**2


@click.group()
def package() -> None:
    """Build what runs on AWS, and check that it runs."""


def _builder(name: str) -> click.Command:
    target = TARGETS[name]

    @click.option(
        "--out",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("packages"),
        show_default=True,
        help="Directory for the zip, its manifest and its bill of materials.",
    )
    @click.option(
        "--wheels",
        "kept",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        default=kept_wheels,
        show_default="headroom/wheels in the user's cache",
        help="Where wheels are kept between builds; what is there is not fetched again.",
    )
    def command(out: Path, kept: Path, jar: Path | None = None) -> None:
        try:
            built = build(target, out, kept, jar, lambda line: click.echo(line, err=True))
        except (BuildError, LockError, WheelError) as error:
            refuse([str(error)], EXIT_FAILED)
        except OSError as error:
            refuse([f"{error.filename or out}: {error.strerror}"], EXIT_FAILED)
        _tell(built)

    if target.provides_flink:
        command = click.option(
            "--connector-jar",
            "jar",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The official connector jar to put in, for reader = aws.",
        )(command)
    what = f"the {name} job for Managed Service for Apache Flink" if target.entry else "all lambdas, for arm64"
    command.__doc__ = f"""Package {what}.

    The zip holds the project's code, its dependencies as wheels for the target at the versions and hashes of
    requirements.lock, a manifest with the hash of each file, and a bill of materials (CycloneDX). The same input gives
    the same bytes.

    \b
    Exit status: 0 when the zip is written; 1 when it cannot be built, an earlier one being left as it was.

    \b
    Examples:
      headroom package {name}
      headroom package {name} --out packages
    """
    return click.command(name)(command)


for each in TARGETS:
    package.add_command(_builder(each))


@package.command("check")
@click.argument("file", metavar="ZIP", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--recording",
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    show_default="the recording for the job that ships with the project",
    help="What a job reads.",
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=PROJECT_ROOT / "examples" / "conversations.toml",
    show_default="the settings for that recording",
    help="Settings, which the job gets as property groups.",
)
@click.option(
    "--python",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The Python 3.12 to check with; without it, one is looked for.",
)
def check_command(file: Path, recording: Path | None, config_file: Path, python: Path | None) -> None:
    """Run what is in ZIP as AWS would, with only that on the path, to a result.

    ZIP is unpacked into an empty directory. A job runs on Flink's local cluster under Python 3.12, reads its settings
    from the property file of Managed Service for Apache Flink, and can write to nothing but the temporary directory.
    The first time, an environment with Flink is made, about 1 GB.

    Each lambda is called the same way, with a message that is none and an AWS that denies every call. Where this
    machine is no arm64, what is compiled in the package is exchanged for the same version for this machine.

    
    Exit status: 0 when ZIP ran to a result; 1 when it did not, or there is nothing to run it in; 2 when a setting or a
    path is wrong.

    
    Examples:
      headroom package capacity && headroom package check packages/capacity.zip
      headroom package check packages/capacity.zip --recording day.jsonl.gz --config headroom.toml
    """
    settings = open_settings(config_file)
    try:
        checked = check(file, recording, settings, python, lambda line: click.echo(line, err=True))
    except (CheckError, EnvironmentMissingError, WheelError) as error:
        refuse([str(error)], EXIT_FAILED)
    except PropertiesError as error:
        refuse(error.problems)
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(checked.outcomes.items()))
    click.echo(f"{file}: {checked.name} ran to a result in {checked.wall_s:.0f} s: {told}")
    click.echo(f"  {checked.python}, held by {checked.how}")
    if TARGETS[checked.name].entry is None:
        for line in checked.lines:
            click.echo(f"  {line}")


def _tell(built: Built) -> None:
    click.echo(f"{built.path}: {built.zip_bytes / _MIB:.1f} MiB, sha256 {built.sha256}")
    for name, version in built.distributions.items():
        click.echo(f"  {name} {version}")
