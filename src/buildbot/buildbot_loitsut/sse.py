"""Server-sent events: bytes in, events out. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST = 1 << 20
"""Bytes of one event; a report's event has at most 32 KiB of text."""


@dataclass(frozen=True)
class Event:
    """One event: its number, where it has one, its kind and its data."""

    number: int | None
    kind: str
    data: str


class Decoder:
    """Takes a stream as it comes, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._clear()

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that this piece completes.

        :raises ValueError: an event is larger than ``MOST``.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._size += len(line)
            yield from self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if self._size > MOST:
                break
        if self._size + len(self._rest) > MOST:
            raise ValueError(f"an event of more than {MOST} bytes")

    def _line(self, line: str) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(self._number, self._kind, "\n".join(self._data))
            self._clear()
            return
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._kind = value
        elif field == "id" and value.isascii() and value.isdigit():
            self._number = int(value)

    def _clear(self) -> None:
        self._size = 0
        self._number: int | None = None
        self._kind = "message"
        self._data: list[str] = []
