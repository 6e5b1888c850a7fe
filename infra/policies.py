"""Prints every policy in the synthesized templates, for a reviewer: `make policies`."""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from infra.templates import PolicyDocument, read_templates


def told(policy: PolicyDocument) -> str:
    """A policy as text: whose it is, then its statements, one after the other."""
    lines = [f"{policy.stack} / {policy.owner} ({policy.kind})"]
    for statement in policy.statements:
        principal = statement.get("Principal")
        lines.append(f"  {statement['Effect'].upper()} {statement.get('Sid', '')}".rstrip())
        if principal:
            lines.append(f"    by   {json.dumps(principal)}")
        lines += [f"    call {each}" for each in _listed(statement.get("Action", []))]
        lines += [f"    on   {each}" for each in _listed(statement.get("Resource", []))]
        lines += [f"    if   {key} {json.dumps(each)}" for key, each in statement.get("Condition", {}).items()]
    return "\n".join(lines)


def main() -> int:
    """Print all policies; gives back the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.policies", description="Print every policy in the templates."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("infra/cdk.out"), help="where `make synth` wrote")
    folder = parser.parse_args().folder
    templates = read_templates(folder)
    if not templates:
        print(f"infra: {folder}: no templates; make them: make synth", file=sys.stderr)  # noqa: T201
        return 1
    policies = [told(policy) for template in templates for policy in template.policies()]
    with suppress(BrokenPipeError):  # the reader has had enough
        print("\n\n".join(policies), flush=True)  # noqa: T201
    return 0


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    sys.exit(main())
