"""Throw-away root file systems: overlays in a mount and PID namespace of their own, which go away with their holder."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab.paths import BASE, PYTHON_CACHE, PYTHON_CACHE_INSIDE

from .system import LINE, System

# PID 1 of the namespace: it ends when its input does, and everything inside with it, however the test ended. Changes
# are kept in memory, unless the caller wants them.
HOLD = f"""
mount -t tmpfs -o mode=755 tree "$1"
mkdir "$1/upper" "$1/work" "$1/root"
upper="$1/upper" work="$1/work"
if [ -n "$3" ]; then
    mkdir -p "$3" "$3.work"
    upper=$3 work=$3.work
fi
mount -t overlay -o "lowerdir=$2,upperdir=$upper,workdir=$work" tree "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mount --bind "$4" .{PYTHON_CACHE_INSIDE}
cat /etc/resolv.conf >etc/resolv.conf
exec chroot . sh -c 'echo ready; exec cat'
"""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class Tree(System):
    """A root file system that nothing was booted from."""

    def __init__(self, pid: str, place: str) -> None:
        self.pid = pid
        self.place = place

    def command(self, *words: str) -> list[str]:
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd", "env", "-i", *variables, *words]

    def listing(self) -> set[str]:
        # What differs from the lower trees is all there is to look at, and little.
        # rpm's database has two files that change when somebody reads it.
        name = ["!", "-name", "rpmdb.sqlite-*"]
        find = ["nsenter", f"--target={self.pid}", "--mount", "find", f"{self.place}/upper", *name, "-printf", LINE]
        return set(subprocess.run(find, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines())


@contextlib.contextmanager
def tree(*layers: Path, base: Path = BASE, keep: Path | None = None) -> Iterator[Tree]:
    """Lay these over a base tree, the last on top; changes are lost, unless a directory is named to keep them."""
    lower = ":".join(str(layer) for layer in [*reversed(layers), base])
    with tempfile.TemporaryDirectory() as place:
        holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", HOLD, "hold",
             place, lower, str(keep or ""), str(PYTHON_CACHE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )
        try:
            # Said from inside: entering before it has changed its root would enter the host's.
            if holder.stdout.readline() != "ready\n":
                raise RuntimeError(f"no tree could be made of {lower}")
            yield Tree(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().strip(), place)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(holder.pid, signal.SIGKILL)
            holder.communicate()
