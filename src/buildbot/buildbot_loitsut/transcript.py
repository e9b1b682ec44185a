"""The log `boot` of a build's step `worker_preparation`, written while the machine boots."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

_log = Logger()


class Transcript:
    """Takes lines at any time, and writes them in their order. What cannot be written is lost, and holds up nothing."""

    def __init__(self, build: Any) -> None:
        # Not a step of the factory, so Buildbot neither offers it nor finishes its logs.
        self._step = build._preparation_step
        self._waiting: list[tuple[str, str]] = []
        self._writer: Deferred[None] | None = None
        self._stream: Any = None
        self._over = False

    def say(self, line: str) -> None:
        """A line of what happens."""
        self._add("o", line)

    def complain(self, line: str) -> None:
        """A line of what goes wrong."""
        self._add("e", line)

    def close(self) -> None:
        """Nothing more will come; what has come is still written."""
        self._over = True
        self._write()

    def _add(self, stream: str, line: str) -> None:
        if not self._over:
            self._waiting.append((stream, line))
            self._write()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = Deferred.fromCoroutine(self._write_waiting())
            self._writer.addErrback(lambda failure: _log.failure("loitsut: the transcript of a boot is cut off", failure))

    async def _write_waiting(self) -> None:
        if self._stream is None:
            self._stream = await self._step.addLog("boot")
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for stream, line in waiting:
                add = self._stream.addStdout if stream == "o" else self._stream.addStderr
                await add(f"{line}\n")
        if self._over:
            await self._stream.finish()
        else:
            self._writer = None
