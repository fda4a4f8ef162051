"""How much a Parquet file would unpack to, told from the headers of its pages before one is unpacked.

A page of constant text packs a hundred thousand times, and the library that reads it offers no limit. The footer's
sizes are a claim; what a reader allocates is what the page headers say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from tunix_eval.errors import DataError

MAX_PAGE_BYTES = 64 << 20
"""Of one page, unpacked; writers make pages of about 1 MiB, and one value may fill a page."""
MAX_PAGE_VALUES = 16_000_000
"""Of one page; writers stop at 20,000 rows."""
ROW_BYTES = 64 << 20
"""What rows that are read at once may take where each has the largest values of its dictionaries."""
_DICTIONARY = 2
_HEADER_BYTES = 1 << 16
"""Of one page header; statistics of long values are cut by writers."""


class _Page(NamedTuple):
    kind: int
    unpacked: int
    packed: int
    values: int
    header: int
    """Bytes of the header itself."""


def check_pages(file: IO[bytes], metadata: Any, name: str) -> int:
    """Refuse a file with a page that unpacks to too much, and return how many rows may be read at once.

    Args:
        file: the Parquet file; its position changes.
        metadata: pyarrow's of it.
        name: what errors call it.

    Raises:
        DataError: naming the column and the size.

    Source: parquet.thrift, PageHeader, in Thrift's compact protocol.
    """
    most_rows = 1 << 20
    for group in range(metadata.num_row_groups):
        dictionaries = 0
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            for page in _pages(file, chunk):
                if page.unpacked > MAX_PAGE_BYTES or page.values > MAX_PAGE_VALUES:
                    much = (
                        f"{page.unpacked / 1e6:,.0f} MB (limit {MAX_PAGE_BYTES >> 20} MiB)"
                        if page.unpacked > MAX_PAGE_BYTES
                        else f"{page.values:,} values (limit {MAX_PAGE_VALUES:,})"
                    )
                    raise DataError(
                        f"{name}: column '{chunk.path_in_schema}' has a page that unpacks to {much}; "
                        "write the file with smaller pages, or as .jsonl"
                    )
                dictionaries += page.unpacked if page.kind == _DICTIONARY else 0
        most_rows = min(most_rows, max(1, ROW_BYTES // max(1, dictionaries)))
    return most_rows


def _pages(file: IO[bytes], chunk: Any) -> Iterator[_Page]:
    """Yield the page headers of a column chunk."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        at = min(at, chunk.dictionary_page_offset)
    end = at + chunk.total_compressed_size
    while at < end:
        file.seek(at)
        page = _header(file.read(_HEADER_BYTES))
        if page is None:
            # What is damaged is for the library to say.
            return
        yield page
        at += page.header + page.packed


def _header(data: bytes) -> _Page | None:
    """Return a page's header, or None where there is none.

    Fields: 1 type, 2 unpacked and 3 packed size; of the structs 5, 7 and 8 (data, dictionary, data of version 2) the
    first field is the number of values.
    """
    reader = _Compact(data)
    try:
        fields = reader.struct()
    except (IndexError, RecursionError, ValueError):
        return None
    kind, unpacked, packed = (fields.get(number) for number in (1, 2, 3))
    if not (isinstance(kind, int) and isinstance(unpacked, int) and isinstance(packed, int)) or packed < 0:
        return None
    counts = [inner.get(1) for number in (5, 7, 8) if isinstance(inner := fields.get(number), dict)]
    values = max((count for count in counts if isinstance(count, int)), default=0)
    return _Page(kind, unpacked, packed, values, reader.at)


class _Compact:
    """Reads structs of Thrift's compact protocol: integers and structs; the rest is passed over.

    Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self) -> dict[int, Any]:
        """Return the fields of a struct by number."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):  # true and false have no byte of their own
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._varint())
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        raise ValueError(f"a Thrift type {kind} in a page header")

    def _list(self) -> None:
        head = self._byte()
        count = self._varint() if head >> 4 == 15 else head >> 4
        for _ in range(min(count, len(self._data))):
            self._value(head & 15)

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError("a page header ends early")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
