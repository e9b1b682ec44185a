"""A system that cases are played on: somewhere to run commands."""

import subprocess
from abc import ABC, abstractmethod

SECONDS = 180  # more than any single step of a case takes

# What a path is, whose, and when it was last changed in any way: also a file made and removed again leaves its mark on
# the directory.
LINE = r"%p %y %m %U %G %s %i %C@ %l\n"


class System(ABC):
    """Runs commands as root."""

    @abstractmethod
    def command(self, *words: str) -> list[str]:
        """The host's command line that runs this one inside."""

    @abstractmethod
    def listing(self) -> set[str]:
        """Everything that a case could change, a line each."""

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess:
        """Run a command with this text on its standard input."""
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run(self.command(*words), input=text, text=True, timeout=SECONDS, **output)

    def script(self, text: str) -> None:
        """Run a shell script that has to succeed."""
        done = self.run("sh", "-eux", "-c", text)
        assert done.returncode == 0, f"the script ended with {done.returncode}:\n{done.stdout}{done.stderr}"

    def put(self, path: str, text: str) -> None:
        """Write a file, and the directories above it."""
        done = self.run("sh", "-euc", 'mkdir -p "${1%/*}"; cat >"$1"', "put", path, text=text)
        assert done.returncode == 0, done.stderr
