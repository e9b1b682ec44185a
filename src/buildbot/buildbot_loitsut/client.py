"""HTTP to the driver: single questions, and its event stream. All of it bounded in time and size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError, SSLError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent, BrowserLikePolicyForHTTPS, FileBodyProducer, RequestNotSent, RequestTransmissionFailed, ResponseDone, ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from .sse import Decoder, Event

SECONDS = 10
"""For a question and its answer."""

SILENCE = 45
"""Seconds without a byte after which a stream counts as broken: the driver sends something every 15 s."""

MOST = 8 << 20
"""Bytes of an answer."""

NETWORK = (
    ConnectError, ConnectionClosed, DNSLookupError, OSError, RequestNotSent, RequestTransmissionFailed, ResponseFailed, SSLError,
    TimeoutError,
)
"""What may pass: asked again, by whoever asks."""

# What the driver would refuse again: the request itself is wrong.
_DEFINITE = frozenset({400, 413, 415, 422})


class DriverError(Exception):
    """The driver could not be asked, or refused."""

    def __init__(self, text: str, status: int | None = None, answer: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.answer = answer or {}

    @property
    def is_definite(self) -> bool:
        """Whether asking again would have the same answer."""
        return self.status in _DEFINITE


class Client:
    """Asks one driver."""

    def __init__(self, reactor: IReactorTime, url: str, ca: str | None) -> None:
        """:param ca: path of a PEM file with the only authorities to trust; None: those of the system."""
        self._reactor = reactor
        self._url = url.rstrip("/")
        trust = trustRootFromCertificates(_authorities(ca)) if ca else platformTrust()
        # Neither redirects nor proxies: the token is for this address alone.
        self._agent = Agent(reactor, BrowserLikePolicyForHTTPS(trust), connectTimeout=SECONDS)
        self.token: str | None = None

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
        """The JSON object that a 2xx brings.

        :raises DriverError: any other answer, or none within ``SECONDS``.
        """
        what = f"{method} {self._url}{path}"
        try:
            answering = Deferred.fromCoroutine(self._answer(method, path, body, query))
            response, text = await answering.addTimeout(SECONDS, self._reactor)
        except NETWORK as error:
            raise DriverError(f"{what}: {_told(error)}") from error
        return _object(what, response.code, text)

    async def stream(self, path: str, query: dict[str, str], opened: Callable[[], None], take: Callable[[Event], None]) -> None:
        """Hand over events until the stream ends.

        :raises DriverError: it was refused, broke, or fell silent for ``SILENCE`` seconds.
        """
        what = f"GET {self._url}{path}"
        try:
            response = await self._request("GET", path, None, query).addTimeout(SECONDS, self._reactor)
            if response.code != 200:
                text = await _collected(response).addTimeout(SECONDS, self._reactor)
                _object(what, response.code, text)
                raise DriverError(f"{what}: status {response.code} is no event stream")
            opened()
            await _delivered(response, _Stream(take))
        except NETWORK as error:
            raise DriverError(f"{what}: {_told(error)}") from error
        except ValueError as error:
            raise DriverError(f"{what}: {error}") from error

    async def _answer(
        self, method: str, path: str, body: dict[str, Any] | None, query: dict[str, str]
    ) -> tuple[IResponse, bytes]:
        response = await self._request(method, path, body, query)
        return response, await _collected(response)

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, query: dict[str, str]
    ) -> Deferred[IResponse]:
        headers = Headers({"User-Agent": ["buildbot-loitsut"], "Accept": ["application/json, text/event-stream"]})
        if self.token:
            headers.addRawHeader("Authorization", f"Bearer {self.token}")
        producer = None
        if body is not None:
            headers.addRawHeader("Content-Type", "application/json")
            producer = FileBodyProducer(BytesIO(json.dumps(body).encode()))
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        return self._agent.request(method.encode(), url.encode(), headers, producer)


class _Body(Protocol):
    """Takes a body to its end."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.transport and self.transport.loseConnection())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            # PotentialDataLoss: an end without a length before it; JSON that is cut off is no JSON.
            if reason.check(ResponseDone, PotentialDataLoss):
                self.ended.callback(None)
            else:
                self.ended.errback(reason)

    def broken(self, error: Exception) -> None:
        if not self.ended.called:
            self.ended.errback(error)
        self.transport.loseConnection()


class _Whole(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self._size += len(data)
        if self._size > MOST:
            self.broken(ResponseFailed([Failure(ValueError(f"an answer of more than {MOST} bytes"))]))


class _Stream(_Body, TimeoutMixin):
    def __init__(self, take: Callable[[Event], None]) -> None:
        super().__init__()
        self._take = take
        self._decoder = Decoder()

    def connectionMade(self) -> None:
        self.setTimeout(SILENCE)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        try:
            for event in self._decoder.feed(data):
                self._take(event)
        except ValueError as error:
            self.broken(error)

    def timeoutConnection(self) -> None:
        self.broken(TimeoutError(SILENCE, f"nothing came for {SILENCE} s"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        super().connectionLost(reason)


def _delivered(response: IResponse, body: _Body) -> Deferred[None]:
    response.deliverBody(body)
    return body.ended


def _collected(response: IResponse) -> Deferred[bytes]:
    body = _Whole()
    return _delivered(response, body).addCallback(lambda _: b"".join(body.pieces))


def _object(what: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text) if text.strip() else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DriverError(f"{what}: status {status}, and no JSON object: is that loitsut's driver?", status)
    if not 200 <= status < 300:
        said = ". ".join(str(answer[key]) for key in ("error", "help") if answer.get(key)) or "it does not say why"
        raise DriverError(f"{what}: status {status}: {said}", status, answer)
    return answer


def _told(error: BaseException) -> str:
    """Twisted wraps the cause, sometimes twice."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return str(error) or type(error).__name__


def _authorities(path: str) -> list[Certificate]:
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", Path(path).read_bytes(), re.DOTALL)
    if not blocks:
        raise ValueError(f"{path} has no certificate")
    return [Certificate.loadPEM(block) for block in blocks]
