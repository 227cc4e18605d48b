"""The files of CI: valid by their schemas, and safe: pinned actions, few rights, nothing is inserted into a shell."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
RIGHTS = {
    "test": {"contents": "read"}, "image": {"contents": "read"}, "checks": {"contents": "read"},
    "publish": {"contents": "read", "packages": "write", "id-token": "write"},
}  # fmt: skip


def said(program: str, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([Path(sys.executable).with_name(program), *words], capture_output=True, text=True)


def zizmor(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What zizmor finds offline. Below medium it would have us use a syntax that other tools do not know."""
    return said("zizmor", "--offline", "--no-progress", "--min-severity=medium", folder)


@pytest.mark.parametrize("file", [*WORKFLOWS, GITHUB / "dependabot.yml"], ids=lambda file: file.stem)
def test_files_hold_to_their_schemas(file: Path) -> None:
    schema = "vendor.dependabot" if file.stem == "dependabot" else "vendor.github-workflows"
    done = said("check-jsonschema", "--builtin-schema", schema, file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_medium_severity_or_more_is_found_in_them() -> None:
    done = zizmor(GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("was", "would_be", "finding"),
    [
        (r"actions/checkout@[0-9a-f]{40}", "actions/checkout@v4", "unpinned-uses"),
        (r"pull_request:", "pull_request_target:", "dangerous-triggers"),
        (r"make test", "make test ${{ github.event.pull_request.title }}", "template-injection"),
    ],
)
def test_a_workflow_that_is_not_safe_would_be_found(tmp_path: Path, was: str, would_be: str, finding: str) -> None:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    text = (GITHUB / "workflows/ci.yml").read_text()
    assert re.search(was, text)
    (tmp_path / ".github/workflows/ci.yml").write_text(re.sub(was, lambda match: would_be, text))
    done = zizmor(tmp_path)
    assert done.returncode != 0 and finding in done.stdout


def jobs() -> dict[str, Any]:
    return {name: job for file in WORKFLOWS for name, job in yaml.safe_load(file.read_text())["jobs"].items()}


def test_each_job_has_the_rights_that_it_needs_and_no_others() -> None:
    assert all(yaml.safe_load(file.read_text())["permissions"] == {} for file in WORKFLOWS)
    assert {name: job["permissions"] for name, job in jobs().items()} == RIGHTS


def test_every_version_that_the_package_names_is_tested() -> None:
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.M)
    assert jobs()["test"]["strategy"]["matrix"]["python"] == named


def test_what_is_published_was_tested_names_its_parts_and_origin_and_is_scanned_and_signed_before_it_has_a_name() -> None:
    publish = jobs()["publish"]
    assert publish["needs"] == "checks" and jobs()["checks"]["uses"] == "./.github/workflows/ci.yml"
    build, = (step for step in publish["steps"] if step.get("uses", "").startswith("docker/build-push-action@"))
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (build["with"]["sbom"], build["with"]["provenance"]) == (True, "mode=max")
    arguments = dict(line.split("=", 1) for line in build["with"]["build-args"].splitlines())
    assert arguments.keys() == set(re.findall(r"(\w+)=", re.findall(r"^ARG (VERSION=.*)$", (ROOT / "Dockerfile").read_text(), re.M)[0]))
    assert "tags" not in build["with"] and "push-by-digest=true" in build["with"]["outputs"]
    after = publish["steps"][publish["steps"].index(build) + 1 :]
    scans = [step for step in after[:2] if step["uses"].startswith("anchore/scan-action@")]
    assert [step["env"]["GRYPE_PLATFORM"] for step in scans] == build["with"]["platforms"].split(",")
    pushed = "${{ env.IMAGE }}@${{ steps.build.outputs.digest }}"
    assert all(step["with"]["image"] == pushed and step["with"]["fail-build"] for step in scans)
    sign, name = (step["run"] for step in after[-2:])
    assert sign == 'cosign sign --yes --recursive "$IMAGE@$DIGEST"'
    assert name == 'docker buildx imagetools create --tag "$IMAGE:$VERSION" "$IMAGE@$DIGEST"'


def test_the_version_that_is_published_is_the_packages_and_the_tags(tmp_path: Path) -> None:
    step, = (step for step in jobs()["publish"]["steps"] if step.get("id") == "version")
    version, = re.findall(r'^__version__ = "(.*)"$', (ROOT / "fastprice/__init__.py").read_text(), re.M)
    told = tmp_path / "output"
    for tag, code in (f"v{version}", 0), ("v9.9.9", 1):
        environ = {"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": tag, "GITHUB_OUTPUT": str(told)}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environ, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert told.read_text().splitlines()[0] == f"version={version}"
