"""The driver's end of its protocol with agents, as far as tests need it: records what comes, answers as told."""

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

SECONDS = 60

# An answer: a status, and a body that is sent as it is, or as JSON; or what writes to the connection, which then ends.
Answer = tuple[int, Any] | Callable[[BinaryIO], None]


class Recorder:
    """A driver on a port of all addresses, within a `with` block."""

    def __init__(self, certificate: Path | None = None, port: int = 0) -> None:
        self.reports: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        # Called for one report at a time.
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _report: (200, {})
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("0.0.0.0", port), self._handler())
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def __enter__(self) -> "Recorder":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, _type: type | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = SECONDS) -> dict[str, Any]:
        """The first report that is wanted, old or new."""
        def found() -> list[dict[str, Any]]:
            return [report for report in self.reports if wanted(report)]

        with self._came:
            came = self._came.wait_for(found, seconds)
            assert came, f"no such report within {seconds} s, but {json.dumps(self.reports[-3:], indent=1)}"
            return found()[0]

    def wait_for_event(self, event: str, seconds: float = SECONDS, **fields: Any) -> dict[str, Any]:
        """The first event of this kind and with these fields."""
        def is_it(one: dict[str, Any]) -> bool:
            return one["event"] == event and fields.items() <= one.items()

        report = self.wait(lambda report: any(map(is_it, report["events"])), seconds)
        return next(filter(is_it, report["events"]))

    def events(self) -> list[dict[str, Any]]:
        """All events that came, each once, in their order."""
        numbered = {(report["run"], one["seq"]): one for report in self.reports for one in report["events"]}
        return [numbered[number] for number in sorted(numbered)]

    def _handler(recorder) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with recorder._came:
                    recorder.requests.append((self.path, self.headers.get("Authorization", "")))
                    answer = recorder.answer(report)
                    if not callable(answer) and answer[0] == 200:
                        recorder.reports.append(report)
                    recorder._came.notify_all()
                if callable(answer):
                    self.close_connection = True
                    with suppress(OSError):
                        answer(self.wfile)
                    return
                status, body = answer
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler
