"""A metadata service that misbehaves as told: real sockets, one connection a request, everything that came recorded."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

TOKEN = "AQAEAtoken"
IDENTITY = json.dumps({"instanceId": "i-0123456789abcdef0", "instanceType": "c7a.large", "region": "eu-north-1"})

# What a request gets: bytes to send, or none to keep it waiting until the service ends.
Answer = Callable[["Imds", str], bytes | None]


def answer(status: int, body: str | bytes = b"") -> bytes:
    """An HTTP answer."""
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Imds:
    """A metadata service on a port of the loopback, within a `with` block; one that refuses does so until `listen`."""

    def __init__(self, user_data: bytes | None, fault: Answer | None = None, refuses: bool = False) -> None:
        self.user_data = user_data
        self.fault = fault
        self.refuses = refuses
        self.requests: list[str] = []
        self._waiting: list[socket.socket] = []
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Imds":
        if not self.refuses:
            self.listen()
        return self

    def __exit__(self, _type: type | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for waiting in self._waiting:
            waiting.close()

    def listen(self) -> None:
        """Accept connections from now on."""
        self._socket.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What leads the agent here."""
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._one(self._socket.accept()[0])

    def _one(self, connection: socket.socket) -> None:
        with suppress(OSError):
            text = b""
            while b"\r\n\r\n" not in text:
                chunk = connection.recv(4096)
                if not chunk:
                    return connection.close()
                text += chunk
            given = self._answer(text.decode())
            if given is None:
                return self._waiting.append(connection)
            connection.sendall(given)
        connection.close()

    def _answer(self, text: str) -> bytes | None:
        method, path, _ = text.split(" ", 2)
        self.requests.append(f"{method} {path}")
        if self.fault:
            given = self.fault(self, f"{method} {path}")
            if given != PROPER:
                return given
        return self._proper(method, path, text)

    def _proper(self, method: str, path: str, text: str) -> bytes:
        if method == "PUT":
            return answer(200, TOKEN)
        if TOKEN not in text:
            return answer(401)
        if path.endswith("/user-data"):
            return answer(404) if self.user_data is None else answer(200, self.user_data)
        return answer(200, IDENTITY)


PROPER = b""


def at_first(times: int, given: bytes | None) -> Answer:
    """So many requests get this, then all is well."""
    return lambda service, _: given if len(service.requests) <= times else PROPER


def always(given: bytes | None, to: str = "") -> Answer:
    """Every request whose line begins so gets this."""
    return lambda _, line: given if line.startswith(to) else PROPER
