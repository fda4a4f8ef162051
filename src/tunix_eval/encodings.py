"""Which encoding a file has that is no plain UTF-8."""

from __future__ import annotations

_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""Byte order marks; that of UTF-32 begins as that of UTF-16 does."""
_NULS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
}
"""Which of the first four bytes are 0 where JSON, whose first two characters are ASCII, has no byte order mark.

Source: RFC 4627, section 3."""


def foreign_encoding(start: bytes) -> str | None:
    """Return why a file that begins with these bytes is not read: it is no plain UTF-8 text.

    >>> foreign_encoding("{}".encode("utf-16-le"))
    'is UTF-16LE without a byte order mark; save the file as UTF-8: iconv -f UTF-16LE -t UTF-8'
    """
    if start.startswith(b"\xef\xbb\xbf"):
        return "starts with a byte order mark; save the file as UTF-8 without one"
    if marked := next((name for mark, name in _MARKS.items() if start.startswith(mark)), None):
        return f"is {marked}, by its byte order mark; save the file as UTF-8: iconv -f {marked} -t UTF-8"
    if bare := _NULS.get(tuple(byte == 0 for byte in start[:4])):
        return f"is {bare} without a byte order mark; save the file as UTF-8: iconv -f {bare} -t UTF-8"
    return None
