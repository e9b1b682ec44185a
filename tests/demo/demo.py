"""The whole way, for real: a generic machine boots, makes itself a build machine, and builds for a Buildbot master."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab.bake import bake
from lab.buildbot import Master, example_master
from lab.instance import HOST, Instance, instance, listed, stop
from lab.paths import CACHE
from lab.proxy import apt_proxy

POOL = "demo"
WORKER = "cpp-1"
BUILDER = "hello-boost"
BOOT_SECONDS = 900  # a first run downloads everything
BUILD_SECONDS = 300

NEXT = """\
What to try next:
  make demo DEMO_KEEP=1         the same, kept running: look at the master's pages, and around inside the instance
  profiles/layers/deps/         add a layer of your own, name it in profiles/cpp.toml, and run this again
  dist/loitsut lint profiles    what is wrong in a profile, with file, line and help, before any machine sees it
  packaging/master/master.cfg   the master that has just built; begin yours with it"""


def main() -> int:
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone())
        machine, buildbot = _start(stack)
        successful = _boot(machine) and _build(buildbot)
        if successful:
            successful = _look_inside(machine)
        say(f"{'done' if successful else 'failed'} after {time.monotonic() - began:.0f} s")
        if "DEMO_KEEP" in os.environ:
            _keep(machine, buildbot)
        elif successful:
            print(NEXT)
        say("stopping the instance and the master")
    return 0 if successful else 1


def say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _start(stack: contextlib.ExitStack) -> tuple[Instance, Master]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loitsut-demo-")))
    password = secrets.token_urlsafe(24)
    proxy_port = stack.enter_context(apt_proxy())
    buildbot = stack.enter_context(example_master(directory / "master", {WORKER: password}))
    say(f"a Buildbot master at {buildbot.url} waits for its worker {WORKER}")
    launch = f"demo-{secrets.token_hex(4)}"
    user_data = json.dumps({
        "loitsut": 1,
        "launch": {"id": launch, "name": launch, "pool": POOL},
        "disposable": True,  # so dpkg need not sync each file
        "profile": "cpp",
        "params": {"apt_proxy": f"http://{HOST}:{proxy_port}"},
        "worker": {"master": f"{HOST}:{buildbot.worker_port}", "name": WORKER, "password": password},
    }).encode()
    say(f"starting {launch}: a generic Debian 12 with the agent, and {len(user_data)} bytes of user-data")
    return stack.enter_context(instance(launch, user_data, [bake(directory / "agent")], POOL)), buildbot


def _boot(machine: Instance) -> bool:
    """Follow the boot, as the instance's journal tells it, until the worker is ready or the boot has failed."""
    machine.wait_until_reachable()
    with machine.running("journalctl", "--follow", "--lines=all", "--output=cat", "--unit=loitsut.service"):
        status = machine.run("loitsut", "status", "--wait", capture=True, timeout=BOOT_SECONDS)
    if status.returncode != 0:
        print(status.stdout + status.stderr, end="")
        machine.run("journalctl", "--no-pager", "--lines=50", "--unit=loitsut-worker.service")
    return status.returncode == 0


def _build(buildbot: Master) -> bool:
    buildbot.wait_for_worker(WORKER, 30)
    say(f"worker {WORKER} is connected to the master; building {BUILDER} on it")
    build = buildbot.wait_for_build(buildbot.force(BUILDER), BUILD_SECONDS, on_step=say)
    last = buildbot.steps(build)[-1]
    print(buildbot.log(last), end="")
    say(f"Buildbot says: {build['state_string']}")
    return build["state_string"] == "build successful"


def _look_inside(machine: Instance) -> bool:
    """Where the time went, and whether anything is left to do; `plan` fails if there is."""
    for command in (["status"], ["analyze", "blame"], ["plan"], ["apply"]):
        say(f"in the instance: loitsut {' '.join(command)}")
        if machine.run("loitsut", *command).returncode != 0:
            return False
    return True


def _keep(machine: Instance, buildbot: Master) -> None:
    say(f"kept until Ctrl-C: {buildbot.url}, and inside: {' '.join(machine.command('bash'))}")
    with contextlib.suppress(SystemExit):
        signal.pause()


def _end(number: int, _frame: object) -> None:
    """Leave by way of all that cleans up; a second signal does not interrupt that."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    sys.exit(128 + number)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One demo at a time; so what is left of an earlier one (killed by force) belongs to nobody, and goes."""
    with open(CACHE / "demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in listed(POOL):
            stop(leftover["launch"])
        yield


sys.exit(main())
