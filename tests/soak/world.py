"""A throw-away root that the profile is applied in, how it is killed, and what it looks like in the end."""

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tables.tree import Tree, tree

from .profile import FILES, MAY_DIFFER, ONCE

PROFILES = "/etc/loitsut/profiles"
SECONDS = 120

# What a program does to files, to other programs, and last: after each of these somebody may be killed.
CALLS = ("rename,renameat,renameat2,fsync,fdatasync,sync_file_range,syncfs,unlink,unlinkat,mkdir,mkdirat,symlink,symlinkat,"
         "link,linkat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,ftruncate,execve,exit_group")
HELD = 4000  # microseconds after each, in which the order to kill arrives

# Runs outside of the root, in its mount namespace. Content is compared by digest, everything else as it is.
LOOK = """
import hashlib, json, os, stat, sys
place, known = sys.argv[1], json.load(sys.stdin)
upper, root = place + "/upper", place + "/root"
paths = set(known)
for folder, directories, files in os.walk(upper):
    paths.update((folder + "/" + name)[len(upper):] for name in directories + files)
found = {}
for path in paths:
    try:
        s = os.lstat(root + path)
    except (FileNotFoundError, NotADirectoryError):
        continue
    what = [oct(s.st_mode), s.st_uid, s.st_gid]
    if stat.S_ISREG(s.st_mode):
        what += [s.st_nlink, hashlib.sha256(open(root + path, "rb").read()).hexdigest()]
    elif stat.S_ISLNK(s.st_mode):
        what.append(os.readlink(root + path))
    found[path] = what
json.dump(found, sys.stdout)
"""


@dataclass
class Run:
    """An agent's run: how it ended, what it said, how many calls it and its programs made until then."""

    status: int
    said: str
    calls: int = 0


@dataclass
class World:
    """A root of its own."""

    tree: Tree
    indeterminate: int = 0
    said: list[str] = field(default_factory=list)

    def apply(self) -> Run:
        """Apply the profile."""
        done = self.tree.run("loitsut", "apply", "soak")
        return self._note(Run(done.returncode, done.stdout + done.stderr))

    def apply_and_kill(self, call: int | None) -> Run:
        """The same, with everything killed after the how-manieth call; never if that is `None`."""
        killer = subprocess.Popen(self.tree.command("sh", "-c", "read x; kill -9 -1"), stdin=subprocess.PIPE, text=True)
        with tempfile.TemporaryDirectory() as folder:
            fifo = f"{folder}/calls"
            os.mkfifo(fifo)
            inject = ["-e", f"inject={CALLS}:delay_exit={HELD}"] if call is not None else []
            agent = subprocess.Popen(
                ["strace", "--follow-forks", "-qqq", "--seccomp-bpf", "-e", f"trace={CALLS}", *inject, "-o", fifo,
                 *self.tree.command("loitsut", "apply", "soak")],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            )
            calls = 0
            with open(fifo) as lines:
                for line in lines:
                    calls += " = " in line or line.rstrip().endswith("= ?")
                    if calls == call and killer.poll() is None:
                        killer.communicate("\n")
            said, _ = agent.communicate(timeout=SECONDS)
        killer.kill()
        killer.communicate()
        return self._note(Run(agent.returncode, said, calls))

    def apply_with_error(self, call: int) -> Run:
        """The same, with a full disk at the how-manieth attempt of each program to make or keep something.

        Not `write`: it also serves pipes and eventfds, which are never full in that way.
        """
        inject = ["-e", f"inject=fsync,fdatasync,mkdirat,mkdir,symlinkat,linkat,renameat,rename:error=ENOSPC:when={call}"]
        done = subprocess.run(
            ["strace", "--follow-forks", "-qqq", "-o", "/dev/null", *inject, *self.tree.command("loitsut", "apply", "soak")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=SECONDS,
        )
        return self._note(Run(done.returncode, done.stdout))

    def until_done(self) -> None:
        """Apply until that succeeds, doing what the messages say about commands whose end is not known."""
        for _ in range(len(ONCE) + 2):
            run = self.apply()
            if run.status == 0:
                break
            record = re.search(r"`echo done >(\S+)`", run.said)
            assert record and "its end is not known" in run.said, f"started again, it did not go on:\n{run.said}"
            self.indeterminate += 1
            self._settle(record[1], run.said)
        else:
            raise AssertionError(f"never done:\n{self.said[-1]}")
        again = self.apply()
        assert again.status == 0 and "nothing to change" in again.said, f"done, and not so:\n{again.said}"

    def _settle(self, record: str, said: str) -> None:
        """Look whether the command did its work, by what it leaves, and tell the agent."""
        name = next(name for name, title in ONCE.items() if f"{title} " in said)
        ran = self.tree.run("test", "-s", f"/srv/log/{name}").returncode == 0
        self.tree.script(f"echo done >{record}" if ran else f"rm {record}")

    def runs(self) -> dict[str, int]:
        """How often each unguarded command has run."""
        count = {}
        for name in ONCE:
            count[name] = len(self.tree.run("cat", f"/srv/log/{name}").stdout.splitlines())
        return count

    def look(self, known: list[str] = []) -> dict[str, list]:
        """All that was changed, and these paths."""
        done = subprocess.run(
            ["nsenter", f"--target={self.tree.pid}", "--mount", "python3", "-c", LOOK, self.tree.place],
            input=json.dumps(known), text=True, check=True, stdout=subprocess.PIPE,
        )
        found = json.loads(done.stdout)
        return {path: what for path, what in found.items() if not any(one.search(path) for one in MAY_DIFFER)}

    def used(self, what: str) -> int:
        """Bytes (`used`) or inodes (`iused`) in use."""
        return int(self._outside("df", f"--output={what}", "--block-size=1", self.tree.place).split()[-1])

    def resize(self, **options: int | str) -> None:
        """Change the size of the disk."""
        listed = ",".join(f"{name}={value}" for name, value in options.items())
        self._outside("mount", "-o", f"remount,{listed}", self.tree.place)

    def _outside(self, *words: str) -> str:
        command = ["nsenter", f"--target={self.tree.pid}", "--mount", *words]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout

    def _note(self, run: Run) -> Run:
        self.said.append(run.said)
        return run


@contextlib.contextmanager
def world(*layers: Path) -> Iterator[World]:
    """A fresh one, with the profile in it."""
    with tree(*layers) as made:
        for path, text in FILES.items():
            made.put(f"{PROFILES}/{path}", text)
        yield World(made)
