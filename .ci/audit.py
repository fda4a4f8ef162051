"""Audit pinned requirements for known vulnerabilities; a service that cannot be reached is said, not failed.

Exit 0: every package was audited and none is vulnerable, or the service was not there (a loud warning).
Exit 1: a vulnerability, a package that a reachable service does not know, or an audit that broke.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolutionError", "ProxyError", "503 Server")


def main(requirements: str) -> int:
    """Run pip-audit over a requirements file, print what came of it and return the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", requirements]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    audit = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    try:
        packages = json.loads(audit.stdout)["dependencies"]
    except json.JSONDecodeError:
        last = (audit.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        if any(word in audit.stderr for word in UNREACHABLE):
            return unreachable(last)
        print(f"audit failed: {last}", file=sys.stderr)
        return 1
    return judge(packages)


def judge(packages: list[dict[str, Any]]) -> int:
    """Return the exit status for pip-audit's findings, and print them."""
    vulnerable = [package for package in packages if package.get("vulns")]
    skipped = [package for package in packages if "skip_reason" in package]
    for package in vulnerable:
        for finding in package["vulns"]:
            fixed = ", ".join(finding["fix_versions"]) or "no fixed version"
            print(f"vulnerable: {package['name']} {package['version']}: {finding['id']}; fixed in {fixed}")
    # An offline mirror answers "not found" for every package; a service that works knows nearly all of them.
    if packages and len(skipped) == len(packages):
        return unreachable(skipped[0]["skip_reason"])
    for package in skipped:
        print(f"not audited: {package['name']}: {package['skip_reason']}")
    print(f"audit: {len(packages) - len(skipped)} of {len(packages)} packages audited, {len(vulnerable)} vulnerable")
    return 1 if vulnerable or skipped or not packages else 0


def unreachable(reason: str) -> int:
    """Say loudly that nothing was audited."""
    line = "!" * 100
    print(f"{line}\nNOT AUDITED: the vulnerability service cannot be reached; no package was checked\n{reason}\n{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
