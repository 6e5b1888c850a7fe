"""The application: `python -m infra.app` writes its templates. `make synth` calls it."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from cdk_nag import AwsSolutionsChecks

from infra.capacity import CapacityStack
from infra.deployment import Capability, Deployment, DeploymentError, PackageMissingError, read_deployment
from infra.findings import OF_CUSTOM_RESOURCES, explain
from infra.shared import SharedStack
from infra.spot import SpotStack
from infra.usage import UsageStack
from jobs.settings import SettingsError
from jobs.settings.properties import PropertiesError

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2
_STACKS: Final[dict[Capability, Callable[..., cdk.Stack]]] = {
    Capability.CAPACITY: CapacityStack,
    Capability.USAGE: UsageStack,
    Capability.SPOT: SpotStack,
}

# Access logs by a bucket policy in place of access control lists, and policies without repetition.
_CONTEXT: Final = {
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/customresources:installLatestAwsSdkDefault": False,
}


def application(deployment: Deployment, out: Path) -> cdk.App:
    """The stacks of the capabilities that are deployed, and the one that they share."""
    app = cdk.App(outdir=str(out), analytics_reporting=False, context=_CONTEXT)
    shared = SharedStack(app, f"{deployment.name}-shared", deployment)
    stacks: list[cdk.Stack] = [shared]
    for capability in sorted(deployment.capabilities):
        stacks.append(_STACKS[capability](app, f"{deployment.name}-{capability}", deployment, shared))
    for stack in stacks:
        _without_repeated_dependencies(stack)
        cdk.Tags.of(stack).add("application", deployment.name)
        explain(stack)
    cdk.Aspects.of(app).add(AwsSolutionsChecks(verbose=True))
    return app


def _with_built_packages() -> Deployment:
    packages = Deployment().packages
    built = frozenset(each for each in Capability if (packages / f"{each}.zip").is_file())
    return Deployment(capabilities=built)


def findings_of(assembly: cdk.cx_api.CloudAssembly) -> list[str]:
    """What cdk-nag and CDK itself find wrong, one line each."""
    return [
        f"{stack.stack_name}: {message.id}: {message.entry.data}".strip()
        for stack in assembly.stacks
        for message in stack.messages
        if message.level.name in ("ERROR", "WARNING")
    ]


def _without_repeated_dependencies(stack: cdk.Stack) -> None:
    """CDK's own function for custom resources waits for its role twice over, which linters tell of."""
    for construct in stack.node.find_all():
        if isinstance(construct, lambda_.CfnFunction) and OF_CUSTOM_RESOURCES in construct.node.path:
            construct.add_deletion_override("DependsOn")


def main() -> int:
    """Write the templates, or say what is wrong; gives back the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.app",
        description="Write CloudFormation templates, without an AWS account.",
        epilog="Example: python -m infra.app infra/deployment.toml --out infra/cdk.out",
    )
    parser.add_argument(
        "deployment",
        type=Path,
        nargs="?",
        help="a deployment file; without it, every capability whose package is built",
    )
    parser.add_argument("--out", type=Path, default=Path("infra/cdk.out"), help="where the templates go")
    arguments = parser.parse_args()
    try:
        deployment = read_deployment(arguments.deployment) if arguments.deployment else _with_built_packages()
        assembly = application(deployment, arguments.out).synth()
    except (DeploymentError, SettingsError, PropertiesError) as error:
        print("\n".join(f"infra: {problem}" for problem in error.problems), file=sys.stderr)  # noqa: T201
        return _EXIT_USAGE
    except PackageMissingError as error:
        print(f"infra: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_FAILED
    findings = findings_of(assembly)
    for finding in findings:
        print(f"infra: {finding}", file=sys.stderr)  # noqa: T201
    for stack in assembly.stacks:
        print(f"{stack.stack_name}: {stack.template_full_path}")  # noqa: T201
    return _EXIT_FAILED if findings else 0


if __name__ == "__main__":
    sys.exit(main())
