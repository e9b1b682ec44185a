"""Instances of the driver's `nspawn` program."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bake import ENDPOINT
from .paths import BASE, DIST, PYTHON_CACHE, PYTHON_CACHE_INSIDE

DRIVER = DIST / "loitsut-driver"
HOST = "10.83.0.1"  # the host, as every instance of the default range sees it, known before any is started
BOOT_SECONDS = 60
DRIVER_SECONDS = 120
RUN_SECONDS = 300


class Instance:
    """A running instance."""

    def __init__(self, launch: str) -> None:
        self.launch = launch

    def command(self, *command: str) -> list[str]:
        """The host's command line that runs this one inside."""
        return [str(DRIVER), "nspawn", "exec", self.launch, "--", "env", ENDPOINT, *command]

    def run(
        self, *command: str, capture: bool = False, check: bool = False, timeout: float = RUN_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, to its end."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if capture else {}
        with self.running(*command, **streams) as process:
            output, errors = process.communicate(timeout=timeout)
        done = subprocess.CompletedProcess(command, process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    @contextlib.contextmanager
    def running(self, *command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Let a command run inside as long as the block lasts."""
        process = subprocess.Popen(
            self.command(*command), text=True, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        try:
            yield process
        finally:
            # The group, since the command inside is a child of what was started here and would outlive it. It is on its
            # own, so that Ctrl-C ends the caller, which then ends this.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()

    def console(self) -> str:
        """What it wrote on its console so far."""
        return _driver("log", self.launch)

    def ended(self) -> str | None:
        """Why it ended, unless it still runs."""
        found = [one for one in json.loads(_driver("list"))["instances"] if one["launch"] == self.launch]
        if not found:
            return "it is not known to the driver"
        return None if found[0]["state"] == "running" else found[0]["reason"]

    def wait_until_reachable(self) -> None:
        """Wait until systemd inside takes orders."""
        deadline = time.monotonic() + BOOT_SECONDS
        while self.run("systemctl", "show", "--property=Version", capture=True).returncode != 0:
            reason = self.ended()
            if reason or time.monotonic() > deadline:
                raise RuntimeError(f"instance {self.launch}: {reason or 'no answer from systemd inside'}\n{self.console()}")
            time.sleep(0.2)

    def wait_until_booted(self) -> None:
        """Wait until systemd inside has no job left of its boot, whether all units came up or not."""
        self.wait_until_reachable()
        self.run("systemctl", "is-system-running", "--wait", capture=True, timeout=BOOT_SECONDS)


@contextlib.contextmanager
def instance(
    launch: str, user_data: bytes, overlays: list[Path], pool: str = "lab", base: Path = BASE
) -> Iterator[Instance]:
    """Start an instance over a base tree and these layers, for as long as the block lasts."""
    request = {
        "launch": launch,
        "pool": pool,
        "image": str(base),
        "overlays": [str(overlay) for overlay in overlays],
        "user_data": base64.b64encode(user_data).decode(),
        "binds": [{"source": str(PYTHON_CACHE), "target": str(PYTHON_CACHE_INSIDE)}],
    }
    try:
        _driver("start", request=request)
        yield Instance(launch)
    finally:
        stop(launch)


def stop(launch: str) -> None:
    """Stop an instance and remove all of it, also one that was only half-started or is gone."""
    _driver("stop", request={"launch": launch})


def listed(pool: str) -> list[dict[str, Any]]:
    """The instances of a pool, as the driver tells them."""
    return [one for one in json.loads(_driver("list"))["instances"] if one["pool"] == pool]


def _driver(*arguments: str, request: dict[str, Any] | None = None) -> str:
    # A session of its own, so that Ctrl-C ends the caller, which then stops its instance in peace.
    done = subprocess.run(
        [DRIVER, "nspawn", *arguments], input=json.dumps(request or {}), text=True, stdout=subprocess.PIPE,
        timeout=DRIVER_SECONDS, start_new_session=True,
    )
    if done.returncode != 0:  # it has told why on standard error
        raise RuntimeError(f"loitsut-driver nspawn {arguments[0]} failed")
    return done.stdout
