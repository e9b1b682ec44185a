"""A caching proxy for Debian packages: apt-cacher-ng as a process of our own, shared by all who run at the same time."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .paths import APT

PORT = 9143  # not apt-cacher-ng's 3142: a service of the host's own may be there
START_SECONDS = 20
STOP_SECONDS = 10

CONFIG = f"""\
CacheDir: {APT}/cache
LogDir: {APT}/log
PidFile: {APT}/pid
SocketPath: {APT}/socket
Port: {PORT}
ForeGround: 1
# It listens on every address, since those of the instances come and go. So it serves Debian and nothing else: an open
# proxy would lead strangers to whatever this machine can reach.
ForceManaged: 1
Remap-debian: http://deb.debian.org/debian ; http://deb.debian.org/debian
Remap-security: http://deb.debian.org/debian-security ; http://deb.debian.org/debian-security
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
            _end(pid)
    except (BlockingIOError, FileNotFoundError, ProcessLookupError, ValueError):
        pass  # somebody else still uses it, or it is gone already


def _end(pid: int) -> None:
    """Its port is free again when this returns."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], STOP_SECONDS)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], STOP_SECONDS)
    finally:
        os.close(process)


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
