"""A proxy before moto that does what moto lacks: it knows ClientToken, looks at the clock of a signature, refuses ended
credentials, and fails, on order, as EC2 does."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

SKEW = timedelta(minutes=5)
Answer = tuple[int, bytes]


@dataclass
class Call:
    """A call as it came: EC2's action and parameters, and whose key signed it."""

    action: str
    parameters: dict[str, str]
    key: str


@dataclass
class Fault:
    """What happens to some calls of an action instead of, or after, what should."""

    action: str
    what: Callable[[Call, Callable[[], Answer]], Answer | None]
    times: int
    where: dict[str, str]

    def fits(self, call: Call) -> bool:
        """Whether it is for this one."""
        same = all(call.parameters.get(key) == value for key, value in self.where.items())
        return self.times > 0 and call.action == self.action and same


def error(code: str, message: str = "no", status: int = 400) -> Answer:
    """An error as EC2 has it."""
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    return status, body.encode()


@dataclass
class Proxy:
    """What tests see of it."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    ended_keys: set[str] = field(default_factory=set)
    clock: timedelta = timedelta()
    _faults: list[Fault] = field(default_factory=list)
    _made: dict[str, tuple[dict[str, str], Answer]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, action: str, code: str, message: str = "no", *, status=400, times=1, **where: str) -> None:
        """Answer with an error, and do nothing."""
        self._add(action, lambda call, forward: error(code, message, status), times, where)

    def lose(self, action: str, *, times=1, **where: str) -> None:
        """Do it, and cut the connection instead of answering."""

        def lose(call: Call, forward: Callable[[], Answer]) -> None:
            forward()

        self._add(action, lose, times, where)

    def answer(self, action: str, body: str, *, status=200, times=1, **where: str) -> None:
        """Answer with that, and do nothing."""
        self._add(action, lambda call, forward: (status, body.encode()), times, where)

    def called(self, action: str) -> list[dict[str, str]]:
        """The parameters of all calls of an action."""
        return [call.parameters for call in self.calls if call.action == action]

    def now(self) -> datetime:
        """The time at this AWS."""
        return datetime.now(timezone.utc) + self.clock

    def handle(self, call: Call, signed: datetime, forward: Callable[[], Answer]) -> Answer | None:
        """What becomes of a call; nothing: its connection is cut."""
        with self._lock:
            self.calls.append(call)
            if abs(self.now() - signed) > SKEW:
                return error("RequestExpired", "Request has expired.")
            if call.key in self.ended_keys:
                return error("ExpiredToken", "The provided token has expired.")
            fault = next((fault for fault in self._faults if fault.fits(call)), None)
            if not fault:
                return self._once(call, forward)
            fault.times -= 1
            return fault.what(call, lambda: self._once(call, forward))

    def _once(self, call: Call, forward: Callable[[], Answer]) -> Answer:
        token = call.parameters.get("ClientToken")
        if token not in self._made:
            answer = forward()
            if token and answer[0] == 200:
                self._made[token] = call.parameters, answer
            return answer
        parameters, answer = self._made[token]
        return answer if parameters == call.parameters else error("IdempotentParameterMismatch")

    def _add(self, action: str, what, times: int, where: dict[str, str]) -> None:
        self._faults.append(Fault(action, what, times, where))


@contextlib.contextmanager
def faulty(port: int) -> Iterator[Proxy]:
    """A proxy to that port of this host, for as long as the block lasts."""
    proxy = Proxy()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy, port)) as server:
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _handler(proxy: Proxy, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
            action = parameters.get("Action") or self.headers["X-Amz-Target"].partition(".")[2]
            key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            signed = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
            answer = proxy.handle(Call(action, parameters, key), signed, lambda: self.forward(body))
            if answer is None:
                self.close_connection = True
                return
            status, body = answer
            self.send_response_only(status)
            self.send_header("Date", format_datetime(proxy.now(), usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def forward(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                return answer.status, answer.read()

        def log_message(self, *args) -> None:
            pass  # the tests say what they see

    return Handler
