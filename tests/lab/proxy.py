"""A caching proxy for Debian packages: apt-cacher-ng as a process of our own, shared by all who run at the same time."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .paths import APT

PORT = 9143  # not apt-cacher-ng's 3142: a service of the host's own may be there
START_SECONDS = 20

CONFIG = f"""\
CacheDir: {APT}/cache
LogDir: {APT}/log
PidFile: {APT}/pid
SocketPath: {APT}/socket
Port: {PORT}
ForeGround: 1
# Repositories over https are tunnelled, not cached.
PassThroughPattern: .*:443$
# Suites disappear from mirrors; what we hold of them is then of no use either.
ExThreshold: 14
"""


@contextlib.contextmanager
def apt_proxy() -> Iterator[int]:
    """Keep the proxy running for as long as the block lasts, and yield its port. The last user to leave stops it."""
    (APT / "config").mkdir(parents=True, exist_ok=True)
    with open(APT / "start.lock", "w") as start, open(APT / "users.lock", "w") as users:
        with _locked(start):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers():
                _start()
        try:
            yield PORT
        finally:
            with _locked(start):
                _stop_unless_used(users)


def _start() -> None:
    (APT / "config" / "acng.conf").write_text(CONFIG)
    with open(APT / "output", "w") as output:
        # Its own session: Ctrl-C ends the demo first, and then, in order, the proxy that its instance still uses.
        child = subprocess.Popen(
            ["apt-cacher-ng", "-c", str(APT / "config")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not _answers():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"apt-cacher-ng does not answer on port {PORT}; see {APT}/output and {APT}/log")
        time.sleep(0.05)


def _stop_unless_used(users) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pid = int((APT / "pid").read_text())
        if b"apt-cacher-ng" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
    except (BlockingIOError, FileNotFoundError, ProcessLookupError, ValueError):
        pass  # somebody else still uses it, or it is gone already


def _answers() -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


@contextlib.contextmanager
def _locked(file) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
