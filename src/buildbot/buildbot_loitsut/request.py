"""One request of a worker: made, followed until it is over, and taken back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from .client import DriverError
from .driver import Driver
from .texts import clean, failure_lines, report_line, request_line
from .transcript import Transcript

PATIENCE = 300
"""Seconds for which a driver that cannot be asked is asked for a worker, before the build goes back into the queue."""


class NoWorker(Exception):
    """No worker will come of a request, or the one that came is gone. Its text has what, where, and the last output."""

    def __init__(self, lines: list[str], permanent: bool) -> None:
        super().__init__("\n".join(lines))
        self.permanent = permanent


class Request:
    """What one substantiation wants of the driver."""

    def __init__(
        self, driver: Driver, wanted: dict[str, Any], transcript: Transcript,
        on_change: Callable[[dict[str, Any]], None], on_end: Callable[[NoWorker], None],
    ) -> None:
        """
        :param wanted: the body of the request, without its id and owner.
        :param on_change: called with the driver's own words whenever something has become of it.
        :param on_end: called once if it ends by itself.
        """
        # A new id by each: a request that a killed master made is never taken for this one.
        self.id = f"{wanted['name'][:40]}-{secrets.token_hex(8)}"
        self._driver = driver
        self._wanted = {**wanted, "id": self.id}
        self._transcript = transcript
        self._on_change = on_change
        self._on_end = on_end
        self._over = False
        self._made = False
        self._asking = self._ask_again = False
        self._began: int | None = None
        self._line = ""

    def start(self) -> None:
        """Make it, in the background."""
        self._driver.watch(self.id, self)
        self._driver.spawn(self._make())

    async def end(self) -> None:
        """Want its worker no more. Takes a moment if the driver answers, and goes on in the background if not."""
        if self._over:
            return  # it has ended by itself
        self._stop_following()
        try:
            await self._driver.delete(self.id)
        except DriverError:
            self._driver.delete_surely(self.id)

    async def refresh(self) -> None:
        """Ask where it stands; that the driver cannot be asked means nothing."""
        try:
            request = await self._driver.get(self.id)
        except DriverError as error:
            if self._made and error.status == 404:
                self._end(["lost: the driver knows nothing of this request any more"], permanent=False)
            return
        self._heard(request)

    def changed(self) -> None:
        """Something may have become of it."""
        if self._asking or not self._made:
            self._ask_again = True
        elif not self._over:
            self._asking = True
            self._driver.spawn(self._ask())

    def told(self, event: dict[str, Any]) -> None:
        """Its agent has reported."""
        at = int(event.get("at", 0))
        self._began = self._began or at
        self._transcript.say(f"{(at - self._began) / 1000:7.1f} s  {report_line(event.get('report', {}))}")

    async def _ask(self) -> None:
        self._ask_again = True
        try:
            while self._ask_again and not self._over:
                self._ask_again = False
                await self.refresh()
        finally:
            self._asking = False

    async def _make(self) -> None:
        now = self._driver.master.reactor.seconds
        deadline, attempt = now() + PATIENCE, 0
        while not self._over:
            try:
                request = await self._driver.make(self._wanted)
            except DriverError as error:
                self._not_made(error, deadline - now())
            else:
                self._made = True
                self._heard(request)
                break
            await self._driver.pause(attempt)
            attempt += 1
        if self._over:
            # It may have been made by a question whose answer came late, or never.
            self._driver.delete_surely(self.id)
        elif self._ask_again:
            self.changed()

    def _not_made(self, error: DriverError, left: float) -> None:
        if error.is_definite:
            self._end(_refusal(error), permanent=True)
        elif left < 0:
            self._end([clean(f"network: {error}")], permanent=False)
        else:
            self._transcript.complain(clean(f"{error}; asked again for {left:.0f} s"))
            other = error.answer.get("request")
            if error.status == 409 and isinstance(other, str):
                # One owner, one name, one request: what is in the way was left by this master.
                self._driver.delete_surely(other)

    def _heard(self, request: dict[str, Any]) -> None:
        if self._over:
            return
        line = request_line(request)
        if line != self._line:
            self._line = line
            self._transcript.say(line)
        self._on_change(request)
        if request["state"] in ("ending", "ended"):
            failure = request.get("failure") or {"class": "lost", "message": "somebody else has deleted the request"}
            self._end(failure_lines(failure), permanent=bool(failure.get("permanent")))

    def _end(self, lines: list[str], permanent: bool) -> None:
        if self._over:
            return
        for line in lines:
            self._transcript.complain(line)
        self._stop_following()
        self._on_end(NoWorker(lines, permanent))

    def _stop_following(self) -> None:
        self._over = True
        self._driver.unwatch(self.id)
        self._transcript.close()


def _refusal(error: DriverError) -> list[str]:
    """A 422 names what is wrong in the profile, file and line."""
    lines = [clean(f"profile: {error}")]
    for diagnostic in error.answer.get("diagnostics", []):
        text = diagnostic if isinstance(diagnostic, str) else diagnostic.get("message", str(diagnostic))
        lines += [clean(line) for line in re.split(r"\r?\n", text)]
    return lines
