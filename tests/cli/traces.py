"""Traces as users have them in files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def line(i: int, **fields: Any) -> dict[str, Any]:
    """One sum."""
    return {
        "trace_version": "1.0",
        "id": f"t{i}",
        "prompt": f"{i}+1=",
        "steps": [{"i": 0, "type": "sum", "content": f"{i}+1 is {i + 1}"}],
        "final_answer": str(i + 1),
        "meta": {"difficulty": ("easy", "medium", "hard")[i % 3], "level": i % 2},
    } | fields


def write(path: str, lines: Iterable[dict[str, Any]]) -> str:
    Path(path).write_text("".join(f"{json.dumps(one)}\n" for one in lines), encoding="utf-8")
    return path


def read(path: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in Path(path).read_text(encoding="utf-8").splitlines()]
