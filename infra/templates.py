"""Synthesized templates as plain values, their references filled in with examples. Pure but for reading files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"

_PSEUDO: Final = {
    "AWS::Partition": "aws",
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "stack",
    "AWS::NoValue": "",
}
_FUNCTIONS: Final = frozenset({"Ref", "Fn::GetAtt", "Fn::Join", "Fn::Sub", "Fn::ImportValue"})
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")
_IMPORTED: Final = re.compile(r":ExportsOutput(?:FnGetAtt|Ref)(.+?)(?:Arn)?[0-9A-F]{8}$")


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy in a template: what it is attached to, of what type, and its statements."""

    stack: str
    owner: str
    kind: str
    statements: tuple[dict[str, Any], ...]


class Template:
    """One stack's template."""

    def __init__(self, path: Path) -> None:
        self.stack = path.name.partition(".")[0]
        self.resources: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["Resources"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id, references filled in."""
        found = {name: each for name, each in self.resources.items() if each["Type"] == kind}
        return {name: self.filled(each.get("Properties", {})) for name, each in found.items()}

    def filled(self, value: Any) -> Any:
        """The value with an example in the place of each reference: `arn:...:<logical id>`, or the logical id."""
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if not isinstance(value, dict) or not value:
            return value
        (function, argument), *more = value.items()
        if not more and function in _FUNCTIONS:
            return self._called(function, argument)
        return {key: self.filled(each) for key, each in value.items()}

    def policies(self) -> Iterator[PolicyDocument]:
        """Every policy in the template."""
        for name, resource in sorted(self.resources.items()):
            properties = self.filled(resource.get("Properties", {}))
            for kind, documents in _documents(resource["Type"], properties).items():
                for owner, document in documents:
                    statements = tuple(_listed(document["Statement"]))
                    yield PolicyDocument(self.stack, owner or name, kind, statements)

    def _called(self, function: str, argument: Any) -> str:
        match function:
            case "Ref":
                return str(_PSEUDO.get(argument, argument))
            case "Fn::GetAtt":
                return self._attribute(*argument)
            case "Fn::Join":
                return str(argument[0].join(str(self.filled(each)) for each in argument[1]))
            case "Fn::Sub":
                return _VARIABLE.sub(lambda found: str(_PSEUDO.get(found[1], found[1])), argument)
            case _:
                name = self.filled(argument)
                found = _IMPORTED.search(name)
                return f"arn:aws:imported:{REGION}:{ACCOUNT}:{found[1] if found else name}"

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.resources[name]["Type"]
        service = {"AWS::IAM::Role": "iam", "AWS::SQS::Queue": "sqs"}.get(kind, kind.split("::")[1].lower())
        region = "" if service in ("iam", "s3") else REGION
        resource = f"role/{name}" if kind == "AWS::IAM::Role" else name
        if attribute != "Arn":
            return f"{name}.{attribute}"
        return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def read_templates(folder: Path) -> list[Template]:
    """All templates in a folder."""
    return [Template(path) for path in sorted(folder.glob("*.template.json"))]


def _documents(kind: str, properties: dict[str, Any]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    match kind:
        case "AWS::IAM::Policy":
            return {"identity": [(role, properties["PolicyDocument"]) for role in properties["Roles"]]}
        case "AWS::IAM::Role":
            own = [("", each["PolicyDocument"]) for each in properties.get("Policies", [])]
            return {"trust": [("", properties["AssumeRolePolicyDocument"])], "identity": own}
        case "AWS::SQS::QueuePolicy":
            return {"resource": [(queue, properties["PolicyDocument"]) for queue in properties["Queues"]]}
        case "AWS::SNS::TopicPolicy":
            return {"resource": [(topic, properties["PolicyDocument"]) for topic in properties["Topics"]]}
        case "AWS::S3::BucketPolicy":
            return {"resource": [(properties["Bucket"], properties["PolicyDocument"])]}
        case "AWS::KMS::Key":
            return {"resource": [("", properties["KeyPolicy"])]}
        case _:
            return {}


def _listed(statements: Any) -> list[dict[str, Any]]:
    return statements if isinstance(statements, list) else [statements]
