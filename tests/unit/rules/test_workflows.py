"""The workflows of GitHub, which cannot be run here: they can be read, and hold together with the project."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.y*ml"))
SYSTEMS = {"ubuntu-latest", "windows-latest", "macos-latest"}
STEP_KEYS = {"uses", "run", "with", "name", "env", "working-directory"}
JOB_KEYS = {
    *("name", "runs-on", "steps", "timeout-minutes", "needs", "strategy", "defaults", "permissions", "environment"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    content["on"] = content.pop(True)  # YAML takes the word for a truth value
    return content


def steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in content["jobs"].values() for step in job["steps"]]


def commands(content: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in steps(content) if "run" in step)


def systems_of(job: dict[str, Any]) -> set[str]:
    if job["runs-on"] != "${{ matrix.os }}":
        return {job["runs-on"]}
    matrix = job["strategy"]["matrix"]
    return {*matrix["os"], *(row["os"] for row in matrix.get("include", ()))}


def test_tests_and_releases_have_a_workflow_each() -> None:
    assert [path.name for path in FILES] == ["release.yml", "tests.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_has_the_form_that_github_reads(path: Any) -> None:
    content = workflow(path.name)

    assert set(content) <= {"name", "on", "permissions", "concurrency", "jobs"}
    assert content["permissions"] == {"contents": "read"}, "what a job needs beyond reading it says itself"
    for name, job in content["jobs"].items():
        assert set(job) <= JOB_KEYS, name
        assert systems_of(job) <= SYSTEMS, name
        assert 0 < job["timeout-minutes"] <= 60, name
        assert set(job.get("needs", "").split()) <= set(content["jobs"]), name
    for step in steps(content):
        assert set(step) <= STEP_KEYS
        assert ("uses" in step) != ("run" in step), "a step is an action or a command"
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[\w./-]+", step["uses"]), "an action has a version"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_expression_names_what_there_is(path: Any) -> None:
    content = workflow(path.name)
    for name, job in content["jobs"].items():
        matrix = job.get("strategy", {}).get("matrix", {})
        known = {*(f"matrix.{key}" for key in matrix), "github.ref", "runner.temp"}
        assert set(re.findall(r"\$\{\{ *([\w.-]+) *\}\}", str(job))) <= known, name


def test_the_tests_run_on_all_three_systems_with_the_oldest_and_the_newest_python() -> None:
    jobs = workflow("tests.yml")["jobs"]
    announced = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text) for text in PROJECT["classifiers"]]
    versions = [match[1] for match in announced if match]
    newest = max(versions, key=lambda text: int(text.partition(".")[2]))
    oldest = PROJECT["requires-python"].removeprefix(">=")

    assert systems_of(jobs["systems"]) == systems_of(jobs["installed"]) == SYSTEMS
    assert set(jobs["systems"]["strategy"]["matrix"]["python"]) == {oldest, newest}
    assert ".ci/run" in commands({"jobs": {"linux": jobs["linux"]}})
    assert "fluxcap demo" in commands({"jobs": {"systems": jobs["systems"]}})


def test_what_the_tests_run_is_there() -> None:
    words = shlex.split(commands(workflow("tests.yml")), comments=True)
    named = {word for word in words if word.startswith(("tests/", ".ci/")) or word == "constraints.txt"}

    assert {"tests/unit", "tests/property", ".ci/run", "constraints.txt"} <= named
    assert all((ROOT / word).exists() for word in named)
    assert set(PROJECT["optional-dependencies"]) >= {"dev"}


def test_a_release_is_published_by_trusted_publishing_and_by_nothing_else() -> None:
    content = workflow("release.yml")
    publish = content["jobs"]["publish"]
    text = (FOLDER / "release.yml").read_text("utf-8")

    assert content["on"] == {"push": {"tags": ["v*"]}}
    assert publish["needs"] == "build"
    assert publish["environment"] == "pypi"
    assert publish["permissions"] == {"id-token": "write"}
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert "secrets." not in text
    assert "password" not in text


def test_what_is_published_is_what_was_built_and_checked() -> None:
    content = workflow("release.yml")
    uploads, downloads = (
        [step["with"] for step in steps(content) if f"{word}-artifact" in step.get("uses", "")]
        for word in ("upload", "download")
    )

    assert [kept["name"] for kept in uploads] == [kept["name"] for kept in downloads] == ["dist"]
    assert "twine check --strict" in commands(content)


@pytest.mark.parametrize(
    ("tag", "text", "is_right"),
    [("v0.2.0", "## [0.2.0] - 2026-11-30\n", True), ("v0.2.0", "## [0.2.0] - not released yet\n", False)],
)
def test_a_version_without_a_date_in_the_changelog_is_not_released(tag: str, text: str, is_right: bool) -> None:
    command = next(step["run"] for step in steps(workflow("release.yml")) if "CHANGELOG" in step.get("run", ""))
    pattern = re.search(r'grep -q "(.+)" CHANGELOG\.md', command)

    assert pattern is not None
    wanted = pattern[1].replace("$version", tag.removeprefix("v").replace(".", r"\."))
    assert bool(re.search(wanted, text, re.MULTILINE)) is is_right
