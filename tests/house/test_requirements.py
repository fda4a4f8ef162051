"""What make installs is pinned, and what is pinned is what pyproject.toml allows."""

from __future__ import annotations

import re
from pathlib import Path

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([\w.-]+)==(\S+)$")


def pins(name: str = "constraints.txt") -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    found = [PINNED.match(line) for line in lines]
    assert all(found), f"a line of {name} is no exact pin"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def test_every_requirement_is_pinned_within_its_range() -> None:
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = [
        *project["project"]["dependencies"],
        *(text for extra in project["project"]["optional-dependencies"].values() for text in extra),
        *(text for group in project["dependency-groups"].values() for text in group),
        *project["build-system"]["requires"],
        "pip",
    ]
    pinned = pins()
    for requirement in map(Requirement, texts):
        version = pinned.get(canonicalize_name(requirement.name), "no version")
        assert version != "no version", f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), (
            f"{requirement.name} is pinned to {version}, {requirement} asked"
        )


def test_the_lowest_versions_are_those_that_pyproject_allows() -> None:
    """`make test-lowest` runs what is claimed: a range whose lower end moves takes its pin along."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pinned = pins("constraints-lowest.txt")
    for requirement in map(Requirement, texts):
        (lowest,) = requirement.specifier
        assert lowest.operator == ">="
        found = pinned[canonicalize_name(requirement.name)]
        assert Version(found) == Version(lowest.version), f"{requirement} is pinned to {found}"
