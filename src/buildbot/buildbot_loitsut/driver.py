"""One driver, shared by all workers of a master that come from it: its event stream is held once, as long as the master runs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildbot.util.service import SharedService

from .client import Client, DriverError
from .sse import Event

PAUSES = (1, 2, 4, 8, 15, 30)
"""Seconds between attempts; the last one again and again."""

_log = Logger()
_Result = TypeVar("_Result")


class Watcher(Protocol):
    """Whoever follows a request."""

    def changed(self) -> None:
        """Something may have become of the request: ask."""

    def told(self, event: dict[str, Any]) -> None:
        """Its agent has reported something; the data of an event of the driver."""


class Driver(SharedService):
    """Asks a driver on behalf of one owner, and hears what it tells."""

    def __init__(self, url: str, owner: str, ca: str | None) -> None:
        super().__init__()
        self.url = url
        self.owner = owner
        self._ca = ca
        self._watchers: dict[str, Watcher] = {}
        self._last: int | None = None
        self._running: set[Deferred[Any]] = set()
        self._client: Client
        self._listening = False

    def startService(self) -> Any:
        """Read the authorities; nothing is asked before there is a token."""
        self._client = Client(self.master.reactor, self.url, self._ca)
        return super().startService()

    def stopService(self) -> Any:
        """Leave everything as it is: whoever starts next ends what was left."""
        for running in list(self._running):
            running.cancel()
        return super().stopService()

    def use_token(self, token: str | None) -> None:
        """Which token to show from now on; with the first one, begin to listen: so the driver knows that this master is there."""
        self._client.token = token
        if not self._listening:
            self._listening = True
            self.spawn(self._listen())

    async def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a request; the same again is no second one.

        :raises DriverError: with status 409, the worker's name is in use by the request that ``answer`` names.
        """
        return await self._client.ask("POST", "/v1/requests", {**request, "owner": self.owner})

    async def get(self, request: str) -> dict[str, Any]:
        """Where a request stands.

        :raises DriverError: it could not be asked, or is not known.
        """
        return await self._client.ask("GET", f"/v1/requests/{request}")

    async def of_worker(self, name: str) -> list[str]:
        """The requests of this owner for that worker which are not over.

        :raises DriverError: it could not be asked.
        """
        answer = await self._client.ask("GET", "/v1/requests", owner=self.owner)
        return [one["id"] for one in answer["requests"] if one["name"] == name and one["state"] not in ("ending", "ended")]

    async def delete(self, request: str) -> None:
        """Want a worker no more; one that is not known is fine.

        :raises DriverError: it could not be asked.
        """
        try:
            await self._client.ask("DELETE", f"/v1/requests/{request}")
        except DriverError as error:
            if error.status != 404:
                raise

    def delete_surely(self, request: str) -> None:
        """The same, in the background, until the driver has heard it."""
        self.spawn(self.insist(f"delete request {request}", lambda: self.delete(request)))

    async def insist(self, what: str, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """Ask until there is an answer, or this service stops."""
        attempt = 0
        while True:
            try:
                return await ask()
            except DriverError as error:
                _log.warn("loitsut: could not {what}, trying again: {error}", what=what, error=error)
            await self.pause(attempt)
            attempt += 1

    def pause(self, attempt: int) -> Deferred[None]:
        """The time between one attempt, counted from 0, and the next."""
        return deferLater(self.master.reactor, PAUSES[min(attempt, len(PAUSES) - 1)])

    def watch(self, request: str, watcher: Watcher) -> None:
        """Tell what becomes of a request."""
        self._watchers[request] = watcher

    def unwatch(self, request: str) -> None:
        """Tell no more of it."""
        self._watchers.pop(request, None)

    def spawn(self, work: Any) -> None:
        """Run a coroutine, until this service stops at the latest."""
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def ended(result: Any) -> None:
            self._running.discard(running)
            if getattr(result, "check", None) and not result.check(CancelledError):
                _log.failure("loitsut: an error of the plugin itself", result)

        running.addBoth(ended)

    async def _listen(self) -> None:
        attempt = 0
        while True:
            before = self._last
            try:
                query = {"owner": self.owner} | ({} if self._last is None else {"after": str(self._last)})
                await self._client.stream("/v1/events", query, self._opened, self._take)
                _log.info("loitsut: {url} has ended its event stream", url=self.url)
            except DriverError as error:
                _log.warn("loitsut: the event stream broke: {error}", error=error)
                if error.status == 410:  # what came after that number is not kept: everything is asked for anew
                    self._last = None
            attempt = 0 if self._last != before else attempt + 1
            await self.pause(attempt)

    def _opened(self) -> None:
        """What happened meanwhile may not be told: ask."""
        for watcher in list(self._watchers.values()):
            watcher.changed()

    def _take(self, event: Event) -> None:
        if event.number is not None:
            self._last = event.number
        try:
            data = json.loads(event.data)
            watcher = self._watchers.get(data["request"])
        except (KeyError, TypeError, ValueError):
            return  # a note that is about no request, or of a kind that is not known yet
        if watcher and event.kind == "report":
            watcher.told(data)
        elif watcher:
            watcher.changed()
