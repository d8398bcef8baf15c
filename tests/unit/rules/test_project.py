"""``pyproject.toml`` and what stands beside it say the same."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.distributions import canonical, needed_by
from tests.support.paths import ROOT
from tests.support.systems import not_on_windows

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTICES = (ROOT / "THIRD_PARTY.md").read_text()


def listed(heading: str) -> set[str]:
    """The packages in the table below a heading of the notices."""
    text = NOTICES.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]+ \|$", text, re.M)) - {"package"}


def test_the_notices_list_every_dependency_and_no_other():
    asked = {canonical(re.split(r"[\[<>=~!; ]", text)[0]) for text in PROJECT["dependencies"]}

    assert listed("What `pip install fluxcap` asks for") == asked


@not_on_windows("the list is that of Linux; what Windows needs besides stands above it")
def test_the_notices_list_all_that_the_dependencies_need():
    told = listed("What `pip install fluxcap` asks for") | listed("What those packages need in turn")

    assert set(needed_by(PROJECT["dependencies"])) - told == set(), "Add each with its licence to THIRD_PARTY.md."


EXTRAS = sorted(set(PROJECT["optional-dependencies"]) - {"dev"})


@pytest.mark.costly
@not_on_windows("the list is that of Linux")
@pytest.mark.parametrize("extra", EXTRAS)
def test_the_notices_list_what_an_extra_adds(extra: str):
    plain, with_extra = (
        set(needed_by([*PROJECT["dependencies"], *more])) for more in ([], PROJECT["optional-dependencies"][extra])
    )

    assert listed(f"What the extra `[{extra}]` adds") == with_extra - plain


@pytest.mark.parametrize("extra", EXTRAS)
def test_developers_have_every_extra(extra: str):
    dev = set(PROJECT["optional-dependencies"]["dev"])

    assert set(PROJECT["optional-dependencies"][extra]) <= dev


def test_the_constraints_pin_everything_that_is_asked_for():
    pinned = {canonical(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]

    assert {canonical(re.split(r"[\[<>=~!; ]", text)[0]) for text in asked} <= pinned


def test_the_project_says_where_it_lives():
    assert set(PROJECT["urls"]) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert PROJECT["license-files"] == ["LICENSE", "THIRD_PARTY.md"]
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
