"""A real Buildbot master, asked and told by its web interface, as people's own tools do."""

import contextlib
import json
import os
import shutil
import signal
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
PLUGIN = REPO / "src/buildbot"
START_SECONDS = 60
RESULTS = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]


class Master:
    """A running master."""

    def __init__(self, directory: Path, web_port: int, worker_port: int) -> None:
        self.directory = directory
        self.process: subprocess.Popen | None = None
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

    def post(self, path: str, method: str, **params: Any) -> Any:
        """The result of a method at a path of the REST API."""
        call = {"jsonrpc": "2.0", "method": method, "id": 1, "params": params}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}api/v2/{path}", json.dumps(call).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["result"]

    def force(self, builder: str) -> int:
        """Ask for a build, and return the id of the request."""
        builderid = self.get(f"builders/{builder}")[0]["builderid"]
        _, requests = self.post("forceschedulers/force", "force", builderid=builderid)
        return next(iter(requests.values()))

    def stop_build(self, build: dict[str, Any]) -> None:
        """End a build."""
        self.post(f"builds/{build['buildid']}", "stop", reason="a test")

    def builds_of(self, request: int, count: int, complete: bool = True) -> list[dict[str, Any]]:
        """The first builds of a request: more than one if they were retried. Waits until there are that many."""
        def builds() -> list[dict[str, Any]]:
            found = self.get(f"builds?buildrequestid={request}&order=number")[:count]
            return [build for build in found if build["complete"] or not complete]
        _wait(lambda: len(builds()) == count, 60, f"no {count} builds; see {self.directory}/twistd.log")
        return builds()

    def wait_for_first_build(self, builder: str, seconds: float) -> dict[str, Any]:
        """The first build of a builder, once it is complete and was not retried."""
        def complete() -> list[dict[str, Any]]:
            builds = self.get(f"builders/{builder}/builds?order=number")
            return [build for build in builds if build["complete"] and build["results"] != RESULTS.index("retry")]
        _wait(lambda: bool(complete()), seconds, f"{builder} did not end; see {self.directory}/twistd.log")
        return complete()[0]

    def properties(self, build: dict[str, Any]) -> dict[str, Any]:
        """The properties of a build."""
        properties = self.get(f"builds/{build['buildid']}/properties")[0]
        return {name: value for name, (value, _source) in properties.items()}

    def wait_for_step(self, build: dict[str, Any], name: str) -> None:
        """Wait until a step has begun."""
        def begun() -> bool:
            return any(step["name"] == name and step["started_at"] for step in self.steps(build))
        _wait(begun, 60, f"step {name} did not begin; see {self.directory}/twistd.log")

    def wait_for_log(self, build: dict[str, Any], name: str, text: str) -> None:
        """Wait until a log of the first step has a text."""
        def has() -> bool:
            step = self.steps(build)[:1]
            return bool(step) and text in self.log(step[0], name)
        _wait(has, 60, f"no {text!r} in the log {name}; see {self.directory}/twistd.log")

    def twistd_log(self) -> str:
        """What the master itself has logged."""
        return (self.directory / "twistd.log").read_text()

    def reconfigure(self, old: str, new: str) -> None:
        """Change the configuration, and have it read."""
        file = self.directory / "master.cfg"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        done = self.twistd_log().count("configuration update complete")
        self.process.send_signal(signal.SIGHUP)
        _wait(lambda: self.twistd_log().count("configuration update complete") > done, 60, "the master did not reconfigure itself")

    def kill(self) -> None:
        """As if by a power cut."""
        self.process.kill()
        self.process.wait()

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

    def log(self, step: dict[str, Any], name: str = "stdio") -> str:
        """What a step printed: without the commands and environments that Buildbot adds."""
        logs = [log for log in self.get(f"steps/{step['stepid']}/logs") if log["name"] == name]
        if not logs:
            return ""
        log = logs[0]
        chunks = self.get(f"logs/{log['logid']}/contents")
        # In a stdio log each line begins with a letter that says where it comes from.
        return "".join(
            line[1:] for chunk in chunks for line in chunk["content"].splitlines(keepends=True) if line[0] in "oe"
        )


@contextlib.contextmanager
def master(directory: Path, files: dict[str, str | Path], environment: dict[str, str]) -> Iterator[Master]:
    """Run a master in a directory, for as long as the block lasts.

    :param files: what it is configured by, by names in its directory: texts, which nobody else may read, or where to copy from.
    """
    _create(directory, files)
    web_port, worker_port = _free_port(), _free_port()
    running = Master(directory, web_port, worker_port)
    environment = os.environ | {
        "BUILDBOT_URL": running.url,
        "BUILDBOT_WEB_PORT": f"tcp:{web_port}:interface=127.0.0.1",
        "BUILDBOT_WORKER_PORT": str(worker_port),
        "PYTHONPATH": str(_plugin(directory.parent)),
    } | environment
    with open(directory / "output", "w") as output:
        # Its own session: Ctrl-C ends the demo, which then ends the master after the instance.
        process = running.process = subprocess.Popen(
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


def example_master(directory: Path, passwords: dict[str, str]) -> contextlib.AbstractContextManager[Master]:
    """The example with one static worker.

    :param passwords: by the names of workers.
    """
    files: dict[str, str | Path] = {name: EXAMPLE / name for name in ("master.cfg", "hello")}
    return master(directory, files | {f"secrets/{name}": password for name, password in passwords.items()}, {})


def _create(directory: Path, files: dict[str, str | Path]) -> None:
    if not directory.exists():
        command = [VENV / "bin/buildbot", "create-master", "--relocatable", directory]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, start_new_session=True)
    for name, content in files.items():
        file = directory / name
        if isinstance(content, Path):
            (shutil.copytree if content.is_dir() else shutil.copy)(content, file)
        else:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(content)


def _plugin(directory: Path) -> Path:
    """The plugin as pip installs it, beside the master: masters find it by its entry point."""
    site = directory / "site"
    if not site.exists():
        source = directory / "plugin"  # building leaves files behind
        shutil.copytree(PLUGIN, source)
        command = [VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--no-index", "--target", site, source], check=True)
    return site


def _wait_until_up(running: Master, process: subprocess.Popen) -> None:
    def up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the master ended:\n{running.twistd_log()}")
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
