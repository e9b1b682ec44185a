"""A booted system: one container for all cases that need a running systemd."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from lab.instance import Instance, instance

from .system import LINE, System

# Where the agent and systemctl leave marks; below /run/systemd/units is one for each start of a unit.
WATCHED = ["/etc", "/usr", "/opt", "/var/lib/loitsut", "/run/loitsut", "/run/systemd/units"]


class Machine(System):
    """An instance of the driver's."""

    def __init__(self, inside: Instance) -> None:
        self.inside = inside

    def command(self, *words: str) -> list[str]:
        return self.inside.command(*words)

    def listing(self) -> set[str]:
        watched = [path for path in WATCHED if self.run("test", "-e", path).returncode == 0]
        return set(self.run("find", *watched, "-printf", LINE).stdout.splitlines())


@contextlib.contextmanager
def machine(layer: Path) -> Iterator[Machine]:
    """Boot the base tree with this layer on it, and no user-data: to the end, as services make what the cases watch."""
    with instance(f"tables-{secrets.token_hex(4)}", b"", [layer], "tables") as inside:
        inside.wait_until_booted()
        yield Machine(inside)
