"""The plugin's HTTP, against servers that are strange, slow or wrong."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lab.paths import REPO

sys.path.insert(0, str(REPO / "src/buildbot"))
from buildbot_loitsut.sse import MOST, Decoder, Event  # noqa: E402
from buildbot_loitsut.texts import failure_lines  # noqa: E402

# A reactor runs once in a process, so each question is asked by one of its own.
ASK = """
import sys
from twisted.internet import task
from twisted.internet.defer import Deferred
from buildbot_loitsut.client import Client, DriverError

async def ask(reactor):
    client = Client(reactor, sys.argv[1], sys.argv[2] or None)
    client.token = "t0ken"
    try:
        print(await client.ask("GET", "/v1/requests/r"))
    except DriverError as error:
        print(f"{error.is_definite} {error}")

task.react(lambda reactor: Deferred.fromCoroutine(ask(reactor)))
"""


def ask(url: str, ca: Path | None = None) -> str:
    command = [sys.executable, "-B", "-c", ASK, url, str(ca or "")]
    asked = subprocess.run(command, cwd=REPO / "src/buildbot", capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None], certificate: Path | None = None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            answer(self)

        def log_message(self, *_arguments: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        running.socket = context.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield running.server_address[1]
    finally:
        running.shutdown()
        running.server_close()


def answering(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
    return answer


@pytest.mark.parametrize("status, body, definite, words", [
    (422, b'{"error": "no profile cpp", "help": "look at profiles/"}', True, "status 422: no profile cpp. look at profiles/"),
    (401, b'{"error": "no such token"}', False, "status 401: no such token"),
    (200, b"<html>welcome</html>", False, "is that loitsut's driver?"),
    (200, b"[1]", False, "is that loitsut's driver?"),
    (503, b"", False, "status 503: it does not say why"),
])
def test_what_a_server_says_is_told(status: int, body: bytes, definite: bool, words: str) -> None:
    with server(answering(status, body)) as port:
        told = ask(f"http://127.0.0.1:{port}")
    assert words in told
    assert told.startswith(str(definite))


def test_a_redirect_is_not_followed() -> None:
    asked = []
    with server(lambda handler: asked.append(handler.path)) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere}/v1/requests/r"
        with server(answering(302, b"{}", Location=location)) as port:
            assert "status 302" in ask(f"http://127.0.0.1:{port}")
    assert not asked


def test_an_answer_without_an_end_is_cut_off() -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    with server(pour) as port:
        assert "an answer of more than 8388608 bytes" in ask(f"http://127.0.0.1:{port}")


def test_nobody_there_is_no_refusal() -> None:
    with server(answering(200, b"{}")) as port:
        pass
    assert "refused" in ask(f"http://127.0.0.1:{port}").lower()


def test_only_the_named_authority_is_trusted(tmp_path: Path) -> None:
    key, certificate, both = tmp_path / "key.pem", tmp_path / "ca.pem", tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=driver",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )
    both.write_text(key.read_text() + certificate.read_text())
    with server(answering(200, json.dumps({"id": "r"}).encode()), both) as port:
        assert ask(f"https://127.0.0.1:{port}", certificate) == "{'id': 'r'}\n"
        assert "certificate verify failed" in ask(f"https://127.0.0.1:{port}")


def test_a_stream_may_come_in_any_pieces() -> None:
    stream = ': hello\r\n\r\nid: 7\nevent: report\ndata: {"a":\ndata: "ä"}\n\ndata:x\n\n: only a comment\n\n'.encode()
    wanted = [Event(7, "report", '{"a":\n"ä"}'), Event(None, "message", "x")]
    for size in (1, 2, 3, len(stream)):
        decoder = Decoder()
        events = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at:at + size])]
        assert events == wanted


def test_an_event_without_an_end_is_refused() -> None:
    for piece in (b"data: " + b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"):
        decoder = Decoder()
        with pytest.raises(ValueError, match="an event of more than"):
            for _ in range(2 * MOST // 65536):
                list(decoder.feed(piece))


def test_a_failure_moves_no_cursor() -> None:
    lines = failure_lines({"class": "profile", "message": "no\x1b[2J\nthing", "output": ["a\rb"], "exit_code": 0})
    assert lines == ["profile: no·[2J·thing", "exit code 0", "  | a·b"]
