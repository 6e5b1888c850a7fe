"""What is in a package: a manifest of all files, and a bill of materials in CycloneDX. Pure.

Source of the format: https://cyclonedx.org/docs/1.6/json/
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any, Final

_NAMESPACE: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's for URLs


@dataclass(frozen=True, slots=True)
class Component:
    """A distribution in a package; `sha256` is its wheel's, `metadata` its METADATA file."""

    name: str
    version: str
    sha256: str
    metadata: str

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"

    def licenses(self) -> list[dict[str, Any]]:
        """Its licence as an SPDX expression, else in the words of the distribution, as CycloneDX lists it."""
        told = HeaderParser().parsestr(self.metadata)
        if expression := told.get("License-Expression"):
            return [{"expression": expression}]
        # Some put the whole text there.
        words = told.get("License", "").strip()
        return [{"license": {"name": words}}] if words and "\n" not in words else []


def manifest(target: str, version: str, python: str, machine: str, files: Mapping[str, bytes]) -> str:
    """The package's name, what it is for, and the hash of each file in it, as JSON."""
    return _json(
        {
            "package": target,
            "version": version,
            "python": python,
            "machine": machine,
            "files": {name: sha256(files[name]) for name in sorted(files)},
        }
    )


def bill_of_materials(target: str, version: str, components: Sequence[Component], jars: Mapping[str, bytes]) -> str:
    """A CycloneDX 1.6 document; the same components give the same document."""
    listed = [_library(each) for each in sorted(components, key=lambda each: each.name)]
    listed += [_jar(name, content) for name, content in sorted(jars.items())]
    root = f"headroom-{target}@{version}"
    serial = uuid.uuid5(_NAMESPACE, root + _json(listed))
    return _json(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{serial}",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": root,
                    "name": f"headroom-{target}",
                    "version": version,
                }
            },
            "components": listed,
            "dependencies": [{"ref": root, "dependsOn": [each["bom-ref"] for each in listed]}],
        }
    )


def sha256(content: bytes) -> str:
    """The digest in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _library(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "hashes": [{"alg": "SHA-256", "content": component.sha256}],
    }
    licenses = component.licenses()
    return entry | {"licenses": licenses} if licenses else entry


def _jar(name: str, content: bytes) -> dict[str, Any]:
    digest = sha256(content)
    return {
        "type": "library",
        "bom-ref": f"jar:{digest}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
