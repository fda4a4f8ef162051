"""`tunix-eval doctor`: what is installed, registered, broken and missing here. JAX is asked in a process of its own."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from tunix_eval import __version__
from tunix_eval.cli.terminal import columns, counted, shortened
from tunix_eval.errors import TunixEvalError
from tunix_eval.settings import read_settings

_PROBE = """
import json, jax
print(json.dumps([[device.platform, device.device_kind] for device in jax.devices()]))
"""
_PROBE_SECONDS = 120
_LITTLE_SPACE = 2**30


class Finding(NamedTuple):
    """One line of the answer."""

    state: str
    """ok; "-" for what is not there and need not be; bad."""
    what: str
    found: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--artifacts", metavar="DIR", help="the records, else as pyproject.toml sets it")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return a line a finding; 1 where something is bad."""
    root, offers = _registered()
    findings = [
        Finding("ok", "tunix-eval", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        _devices(),
        *_libraries(),
        *offers,
        *_artifacts(root, arguments.artifacts),
    ]
    bad = sum(finding.state == "bad" for finding in findings)
    first = columns([(finding.state, finding.what) for finding in findings])
    width = max(map(len, first)) + 2
    lines: list[str] = []
    for head, finding in zip(first, findings, strict=True):
        lines += _wrapped(head.ljust(width), finding.found)
    return [*lines, f"{counted(bad, 'thing')} to mend" if bad else "all is well"], 1 if bad else 0


def _wrapped(head: str, text: str) -> Iterator[str]:
    """Yield a finding in lines of 80 columns; a command to type stays in one."""
    words, line = text.split(" "), head
    for k, word in enumerate(words):
        if k and len(line) + len(word) > 79:
            yield line.rstrip()
            line = " " * len(head)
        line += f"{shortened(word, 200)} "
    yield line.rstrip()


def _devices() -> Finding:
    try:
        found = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("bad", "devices", f"JAX did not answer in {_PROBE_SECONDS} s; is another process holding them?")
    if found.returncode:
        why = (found.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("bad", "devices", f"JAX cannot start: {why}")
    devices = Counter((kind, name) for kind, name in json.loads(found.stdout.splitlines()[-1]))
    return Finding("ok", "devices", ", ".join(f"{count} {kind} ({name})" for (kind, name), count in devices.items()))


def _libraries() -> Iterator[Finding]:
    """Yield what tunix-eval's own requirements say of what is installed."""
    groups: dict[str, list[Requirement]] = defaultdict(list)
    for text in importlib.metadata.requires("tunix-eval") or []:
        requirement = Requirement(text)
        extras = [name for name in _extras() if requirement.marker and requirement.marker.evaluate({"extra": name})]
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        groups["" if needed else extras[0] if extras else "-"].append(requirement)
    yield _needed(groups.pop("", []))
    for extra, requirements in groups.items():
        if extra != "-":
            yield _optional(extra, requirements)


def _extras() -> list[str]:
    return importlib.metadata.metadata("tunix-eval").get_all("Provides-Extra") or []


def _needed(requirements: list[Requirement]) -> Finding:
    flaws = [flaw for one in requirements if (flaw := _flaw(one))]
    if flaws:
        return Finding("bad", "libraries", f"{', '.join(flaws)}; pip install --upgrade tunix-eval")
    return Finding("ok", "libraries", ", ".join(f"{one.name} {_version(one.name)}" for one in requirements))


def _optional(extra: str, requirements: list[Requirement]) -> Finding:
    install = f"pip install 'tunix-eval[{extra}]'"
    flaws = [flaw for one in requirements if (flaw := _flaw(one))]
    if flaws:
        missing = all(_version(one.name) is None for one in requirements)
        return Finding("-" if missing else "bad", f"[{extra}]", f"{', '.join(flaws)}: {install}")
    return Finding("ok", f"[{extra}]", ", ".join(f"{one.name} {_version(one.name)}" for one in requirements))


def _flaw(requirement: Requirement) -> str:
    """Say how what is installed differs from what is required; an empty string where it fits."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    fits = requirement.specifier.contains(version, prereleases=True)
    return "" if fits else f"{requirement.name} {version} is installed, expected {requirement.specifier}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _registered() -> tuple[Path, list[Finding]]:
    """Return pytest's root directory, and who registers what."""
    from tunix_eval.cli.bridge import KINDS, Catalogue, with_registry

    def found(registry: Catalogue) -> tuple[Path, list[Finding]]:
        sources: dict[str, Counter[str]] = defaultdict(Counter)
        names = Counter((kind, name) for kind in KINDS for name, _ in registry.offers(kind))
        for kind in KINDS:
            for _, source in registry.offers(kind):
                sources[source][kind] += 1
        offers = [
            Finding("ok", "registered", f"{source}: {', '.join(counted(n, kind) for kind, n in kinds.items())}")
            for source, kinds in sources.items()
        ]
        twice = [
            Finding("bad", "registered", f"two {kind}s are named '{name}'; rename one: tunix-eval list {kind}")
            for (kind, name), count in names.items()
            if count > 1
        ]
        return registry.root, [*offers, *twice, *(Finding("bad", "registered", text) for text in registry.broken)]

    try:
        return with_registry(found)
    except TunixEvalError as error:
        return Path.cwd(), [Finding("bad", "registered", str(error))]


def _artifacts(root: Path, asked: str | None) -> Iterator[Finding]:
    """Yield whether records can be written, trying it where the folder is there."""
    try:
        folder = Path(asked) if asked else root / read_settings(root).artifacts
    except TunixEvalError as error:
        yield Finding("bad", "settings", str(error).replace("\n", "; "))
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding("bad", "artifacts", f"{folder}: cannot be written: {error.strerror}; --tunix-artifacts=DIR")
        return
    free = shutil.disk_usage(there).free
    made = "writable" if there == folder.absolute() else "not there yet, can be made"
    state = "ok" if free >= _LITTLE_SPACE else "bad"
    yield Finding(state, "artifacts", f"{folder}: {made}, {free / 2**30:,.0f} GiB free")
