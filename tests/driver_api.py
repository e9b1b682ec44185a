"""A driver as its clients see it: the HTTP API, with worker processes on this host for instances."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lab.paths import VENV

TOKEN = "the-masters-token"
SECONDS = 60

# Runs in a root directory that is the host's, with all changes thrown away at its end.
THROW_AWAY = """
top=$1 home=$2; shift 2
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" overlay "$top/root"
mount --rbind /dev "$top/root/dev"
mount -t proc proc "$top/root/proc"
mount -t tmpfs tmpfs "$top/root/tmp"
mkdir -p "$top/root$home"
mount --bind "$home" "$top/root$home"
exec chroot "$top/root" "$@"
"""


def throw_away_worker(place: Path, master: str, name: str, password: str) -> subprocess.Popen:
    """A Buildbot worker that may do anything to its machine: killed, it leaves nothing but its own directory."""
    home, top = place / "worker", place / "throw-away"
    top.mkdir(parents=True)
    program = VENV / "bin/buildbot-worker"
    create = [program, "create-worker", "--relocatable", home, master, name, password]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
    inside = [program, "start", "--nodaemon", home]
    with open(place / "output", "w") as output:
        return subprocess.Popen(
            # Not setpriv --pdeathsig: that is about the thread that starts it, which ends with its play.
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-ec", THROW_AWAY, "bash", top, home, *inside],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )


class Api:
    """Requests, and what is told of them. What becomes of one is up to ``play``, which runs in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bodies: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.play: Callable[[str], None] = self.boot
        # A status and a body to answer a POST with, instead of taking it.
        self.refusal: Callable[[dict[str, Any]], tuple[int, dict[str, Any]] | None] = lambda _body: None
        self.listeners: list[str] = []
        self._workers: dict[str, subprocess.Popen] = {}
        self._events: list[tuple[str, str, dict[str, Any]]] = []
        self._came = threading.Condition()
        self._up = True
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listen, again on the same port."""
        self._up = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """As if killed: nobody listens, streams break, instances live on."""
        with self._came:
            self._up = False
            self._came.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def end_instances(self) -> None:
        for request in list(self._workers):
            self._end_instance(request)

    # What a play is made of.

    def boot(self, request: str) -> None:
        """An instance, a boot of two steps, a worker; and ready."""
        self.set(request, "starting", launch={"id": f"l-{request}", "attempt": 1})
        instance = {"id": f"i-{request}", "type": "c7a.large", "image": "debian-12", "zone": "here-1", "price": "spot"}
        self.set(request, "booting", instance=instance)
        self.report(request, event="phase", phase="apply")
        self.report(request, event="step", resource="packages apt g++", layer="toolchain/gcc", outcome="changed", drift="missing", took=900)
        self.start_worker(request)
        self.set(request, "ready")

    def fail(self, request: str, **failure: Any) -> None:
        self.set(request, "ended", outcome="failed", failure={"class": "join", "permanent": False, "message": "?", **failure})

    def set(self, request: str, state: str, **fields: Any) -> None:
        with self._came:
            one = self.requests[request]
            if one["state"] in ("ending", "ended") and state != "ended":
                return
            one |= {"state": state, **fields}
            self._tell("request", {"owner": one["owner"], "request": request, "told": "request", "state": state})

    def report(self, request: str, **report: Any) -> None:
        with self._came:
            owner = self.requests[request]["owner"]
            self._tell("report", {"owner": owner, "request": request, "told": "report", "run": 1, "report": {"seq": 1, "ago": 0, **report}})

    def start_worker(self, request: str) -> None:
        """What the instance's agent would launch: with the user-data's name, password and master."""
        worker = self.bodies[request]["worker"]
        self._workers[request] = throw_away_worker(self.directory / request, **worker)

    # What tests look at.

    def wait(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait until something of this API is so."""
        with self._came:
            assert self._came.wait_for(condition, seconds), f"not within {seconds} s: {self.calls[-10:]} {self.requests}"
            return condition()

    def wait_for_state(self, request: str, state: str) -> None:
        self.wait(lambda: self.requests[request]["state"] == state)

    def has_worker(self, request: str) -> bool:
        return request in self._workers

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        self._events.append((data["owner"], kind, {"at": int(time.time() * 1000), **data}))
        self._came.notify_all()

    def _end_instance(self, request: str) -> None:
        worker = self._workers.pop(request, None)
        if worker:
            worker.kill()
            worker.wait()

    # The API.

    def post(self, body: dict[str, Any]) -> tuple[int, Any]:
        with self._came:
            refused = self.refusal(body)
            if refused:
                return refused
            known = self.requests.get(body["id"])
            if known:
                return (200, known) if self.bodies[body["id"]] == body else (409, {"error": "other content", "request": body["id"]})
            for other in self.requests.values():
                if (other["owner"], other["name"]) == (body["owner"], body["name"]) and other["state"] not in ("ending", "ended"):
                    return 409, {"error": f"{body['name']} is the worker of request {other['id']}", "request": other["id"]}
            self.bodies[body["id"]] = body
            one = {key: body.get(key) for key in ("id", "owner", "name", "pool", "profile", "params")}
            self.requests[body["id"]] = one | {"state": "waiting", "profile_digest": "d1", "created": 1, "changed": 1}
            self._came.notify_all()
        threading.Thread(target=self.play, args=[body["id"]], daemon=True).start()
        return 201, self.requests[body["id"]]

    def delete(self, request: str) -> tuple[int, Any]:
        if request not in self.requests:
            return 404, {"error": "no such request"}
        over = self.requests[request]["state"] == "ended"
        if not over:
            self.set(request, "ending")
            self._end_instance(request)
            self.set(request, "ended", outcome="done")
        return (200 if over else 202), self.requests[request]

    def stream(self, owner: str, after: int | None, write: Callable[[bytes], None]) -> None:
        number = len(self._events) if after is None else after
        with self._came:
            self.listeners.append(owner)
            self._came.notify_all()
        try:
            write(b": hello\n\n")
            while self._up:
                with self._came:
                    self._came.wait_for(lambda: len(self._events) > number or not self._up, 5)
                    new, number = self._events[number:], len(self._events)
                write(b": still here\n\n")
                for at, (whose, kind, data) in enumerate(new, number - len(new) + 1):
                    if whose == owner:
                        write(f"id: {at}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        finally:
            with self._came:
                self.listeners.remove(owner)
                self._came.notify_all()


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            address = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            with api._came:
                api.calls.append((self.command, address.path))
                api._came.notify_all()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer(401, {"error": "no such token", "help": "look at the token file"})
            request = address.path.removeprefix("/v1/requests/")
            if self.command == "POST":
                return self._answer(*api.post(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            if self.command == "DELETE":
                return self._answer(*api.delete(request))
            if address.path == "/v1/events":
                return self._stream(query)
            if address.path == "/v1/requests":
                return self._answer(200, {"requests": [one for one in api.requests.values() if one["owner"] == query["owner"]]})
            return self._answer(*((200, api.requests[request]) if request in api.requests else (404, {"error": "no such request"})))

        do_GET = do_POST = do_DELETE = _any  # noqa: N815

        def _answer(self, status: int, body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        def _stream(self, query: dict[str, str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

            def write(data: bytes) -> None:
                self.wfile.write(data)
                self.wfile.flush()

            with contextlib.suppress(OSError):
                api.stream(query["owner"], int(query["after"]) if "after" in query else None, write)

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def api(directory: Path) -> Iterator[Api]:
    """A driver's API on a port of loopback, within a `with` block."""
    running = Api(directory)
    try:
        yield running
    finally:
        running.close()
        running.end_instances()
