"""The commands of `headroom package`."""

from pathlib import Path

import click

from jobs.options import EXIT_FAILED, refuse
from jobs.package.build import BuildError, Built, build
from jobs.package.lock import LockError
from jobs.package.targets import TARGETS
from jobs.package.wheels import WheelError, kept_wheels

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


def _tell(built: Built) -> None:
    click.echo(f"{built.path}: {built.zip_bytes / _MIB:.1f} MiB, sha256 {built.sha256}")
    for name, version in built.distributions.items():
        click.echo(f"  {name} {version}")
