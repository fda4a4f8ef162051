"""What a model directory says of its chat template and special tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.errors import RenderError
from tunix_eval.nearby import near_file

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")


def chat_template(directory: Path) -> tuple[str, str]:
    """Return the template and where it stands.

    Raises:
        RenderError: there is none, several without a default, or a file cannot be read.
    """
    if not directory.exists():
        raise RenderError(f"{directory}: no such model directory.{near_file(directory)}".removesuffix("."))
    if not directory.is_dir():
        raise RenderError(f"{directory}: not a directory; expected a model directory with a chat template")
    path = directory / "chat_template.jinja"
    if path.is_file():
        return _read(path).decode("utf-8"), str(path)
    for name in ("chat_template.json", "tokenizer_config.json"):
        path = directory / name
        found = _table(path).get("chat_template")
        if isinstance(found, str):
            return found, f"{path}: chat_template"
        if isinstance(found, list):
            return _default(found, path), f"{path}: chat_template 'default'"
    raise RenderError(
        f"{directory}: no chat template; expected chat_template.jinja, or chat_template in tokenizer_config.json"
    )


def special_tokens(directory: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return special tokens by role (`bos_token`, ...), and all of them, BOS first.

    Raises:
        RenderError: a file cannot be read.
    """
    config, roles = _table(directory / "tokenizer_config.json"), _table(directory / "special_tokens_map.json")
    added = _table(directory / "tokenizer.json").get("added_tokens")
    decoder = config.get("added_tokens_decoder")
    by_role = {
        role: text for table in (roles, config) for role in _ROLES if (text := _content(table.get(role))) is not None
    }
    extra = [text for table in (config, roles) for key in _LISTS for text in _listed(table.get(key))]
    flagged = [*(decoder.values() if isinstance(decoder, dict) else ()), *(added if isinstance(added, list) else ())]
    special = [_content(token) for token in flagged if isinstance(token, dict) and token.get("special") is True]
    everything = [*sorted(by_role.values(), key=lambda text: text != by_role.get("bos_token")), *extra, *special]
    return by_role, tuple(dict.fromkeys(text for text in everything if text))


def _default(templates: list[Any], path: Path) -> str:
    named = {
        entry["name"]: entry["template"]
        for entry in templates
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
    }
    if "default" not in named:
        found = ", ".join(sorted(named)) or "none"
        raise RenderError(f"{path}: chat_template has no template named 'default'; found: {found}")
    return str(named["default"])


def _content(value: object) -> str | None:
    """Return a token's text, which stands as it is or as `content` of a table."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def _listed(value: object) -> list[str]:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for text in map(_content, entries) if text is not None]


def _table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = msgspec.json.decode(_read(path))
    except msgspec.DecodeError as error:
        raise RenderError(f"{path}: {error}; expected JSON") from None
    except RecursionError:
        raise RenderError(f"{path}: nested too deeply; expected the JSON object of a model directory") from None
    if not isinstance(found, dict):
        raise RenderError(f"{path}: found {type(found).__name__}, expected a JSON object")
    return found


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        data.decode("utf-8")
    except OSError as error:
        raise RenderError(f"{path}: {error.strerror}; the file cannot be read") from None
    except UnicodeDecodeError as error:
        raise RenderError(f"{path}: byte {error.start} is no UTF-8") from None
    return data
