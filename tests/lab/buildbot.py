"""A real Buildbot master, asked and told by its web interface, as people's own tools do."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .paths import REPO, VENV

EXAMPLE = REPO / "packaging/master"
START_SECONDS = 60
RESULTS = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]


class Master:
    """A running master."""

    def __init__(self, directory: Path, web_port: int, worker_port: int) -> None:
        self.directory = directory
        self.worker_port = worker_port
        self.url = f"http://127.0.0.1:{web_port}/"

    def get(self, path: str) -> list[dict[str, Any]]:
        """The objects at a path of the REST API."""
        with urllib.request.urlopen(f"{self.url}api/v2/{path}", timeout=10) as answer:
            fields = json.load(answer)
        fields.pop("meta")
        return next(iter(fields.values()))

    def wait_for_worker(self, name: str, seconds: float, while_waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until this worker is connected."""
        def connected() -> bool:
            while_waiting()
            return bool(self.get(f"workers/{name}")[0]["connected_to"])
        _wait(connected, seconds, f"worker {name} did not connect to the master; see {self.directory}/twistd.log")

    def force(self, builder: str) -> int:
        """Ask for a build, and return the id of the request."""
        builderid = self.get(f"builders/{builder}")[0]["builderid"]
        call = {"jsonrpc": "2.0", "method": "force", "id": 1, "params": {"builderid": builderid}}
        request = urllib.request.Request(
            f"{self.url}api/v2/forceschedulers/force", json.dumps(call).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            _, requests = json.load(answer)["result"]
        return next(iter(requests.values()))

    def wait_for_build(self, request: int, seconds: float, on_step: Callable[[str], None]) -> dict[str, Any]:
        """Wait for the build of a request to end, telling each finished step, and return it."""
        told = 0
        builds: list[dict[str, Any]] = []

        def complete() -> bool:
            nonlocal told, builds
            builds = self.get(f"builds?buildrequestid={request}")
            if not builds:
                return False
            finished = [step for step in self.steps(builds[0]) if step["complete"]]
            for step in finished[told:]:
                on_step(f"step {step['name']}: {RESULTS[step['results']]}")
            told = len(finished)
            return builds[0]["complete"]
        _wait(complete, seconds, f"the build did not end; see {self.directory}/twistd.log")
        return builds[0]

    def steps(self, build: dict[str, Any]) -> list[dict[str, Any]]:
        """The steps of a build, in order."""
        return self.get(f"builds/{build['buildid']}/steps")

    def log(self, step: dict[str, Any]) -> str:
        """What a step printed: without the commands and environments that Buildbot adds."""
        log = self.get(f"steps/{step['stepid']}/logs/stdio")[0]
        chunks = self.get(f"logs/{log['logid']}/contents")
        # In a stdio log each line begins with a letter that says where it comes from.
        return "".join(
            line[1:] for chunk in chunks for line in chunk["content"].splitlines(keepends=True) if line[0] in "oe"
        )


@contextlib.contextmanager
def master(directory: Path, secrets: dict[str, str]) -> Iterator[Master]:
    """Run the example master in an empty directory, for as long as the block lasts."""
    _create(directory, secrets)
    web_port, worker_port = _free_port(), _free_port()
    running = Master(directory, web_port, worker_port)
    environment = os.environ | {
        "BUILDBOT_URL": running.url,
        "BUILDBOT_WEB_PORT": f"tcp:{web_port}:interface=127.0.0.1",
        "BUILDBOT_WORKER_PORT": str(worker_port),
    }
    with open(directory / "output", "w") as output:
        # Its own session: Ctrl-C ends the demo, which then ends the master after the instance.
        process = subprocess.Popen(
            # setpriv: it ends even if the demo is killed by force.
            ["setpriv", "--pdeathsig=TERM", VENV / "bin/buildbot", "start", "--nodaemon", directory],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True,
        )
    try:
        _wait_until_up(running, process)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _create(directory: Path, secrets: dict[str, str]) -> None:
    command = [VENV / "bin/buildbot", "create-master", "--relocatable", directory]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, start_new_session=True)
    shutil.copy(EXAMPLE / "master.cfg", directory)
    shutil.copytree(EXAMPLE / "hello", directory / "hello")
    (directory / "secrets").mkdir(mode=0o700)
    for name, value in secrets.items():
        file = directory / "secrets" / name
        file.touch(mode=0o600)
        file.write_text(value)


def _wait_until_up(running: Master, process: subprocess.Popen) -> None:
    def up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the master ended:\n{(running.directory / 'twistd.log').read_text()}")
        with contextlib.suppress(urllib.error.URLError):
            return bool(running.get("builders"))
        return False
    _wait(up, START_SECONDS, f"the master does not answer; see {running.directory}/twistd.log")


def _wait(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} (waited {seconds:.0f} s)")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
