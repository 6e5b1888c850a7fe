"""Templates, made once for all tests: without an AWS account, but with Node, which CDK runs on."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from infra.templates import Template, read_templates

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "infra" / ".venv" / "bin" / "python"

NETWORK = """
capabilities = ["capacity"]
[network]
vpc_id = "vpc-0123456789abcdef0"
subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
availability_zones = ["eu-west-1a", "eu-west-1b"]
"""
RULE_WRITER = "arn:aws:iam::123456789012:role/headroom-rules"
EXAMPLE = (ROOT / "infra" / "deployment.example.toml").read_text(encoding="utf-8")
DEPLOYMENTS = {
    "example": EXAMPLE.replace("\npackages", "\n#").replace(
        "\nrule_writer_role_arns = []", f'\nrule_writer_role_arns = ["{RULE_WRITER}"]'
    ),
    "capacity": NETWORK,
    "usage": 'capabilities = ["usage"]',
    "spot": 'capabilities = ["spot"]',
    "firehose": 'capabilities = ["usage"]\nsettings = "{folder}/firehose-settings.toml"',
}
# All in one process, for starting CDK takes longer than the work itself.
SYNTHESIZE = """
import sys
from pathlib import Path
from infra.app import application, findings_of
from infra.deployment import read_deployment
for name in sys.argv[2:]:
    folder = Path(sys.argv[1]) / name
    print(*findings_of(application(read_deployment(folder.with_suffix(".toml")), folder).synth()), sep="\\n")
"""

Synthesized = dict[str, Template]


def run_infra(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the Python that has the CDK, without anything of an AWS account."""
    if shutil.which("node") is None:
        pytest.skip("CDK needs Node, which is not here")
    if not PYTHON.exists():
        pytest.skip("the CDK is not installed; `make infra` does that")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    return subprocess.run([PYTHON, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the templates of each deployment in a folder of its own."""
    folder = tmp_path_factory.mktemp("synthesized")
    for name in ("capacity", "usage", "spot", "lambdas"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr("name", name)
    (folder / "firehose-settings.toml").write_text('[usage]\nsink = "firehose"\ndelivery_stream = "rows"\n')
    for name, deployment in DEPLOYMENTS.items():
        text = f'packages = "{folder}"\n{deployment}'.replace("{folder}", str(folder))
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    done = run_infra("-c", SYNTHESIZE, folder, *DEPLOYMENTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", "findings of cdk-nag, or warnings of CDK"
    return folder


@pytest.fixture(scope="session")
def out(synthesized: Path) -> Path:
    """Where the templates of the example deployment are."""
    return synthesized / "example"


@pytest.fixture(scope="session")
def templates(out: Path) -> Synthesized:
    """The templates of the example deployment, by the last part of their names."""
    return {template.stack.removeprefix("headroom-"): template for template in read_templates(out)}
