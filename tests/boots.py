"""Many boots of the agent in one container: real systemd, user-data from a file, and everything forgotten in between."""

import base64
import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.instance import Instance, instance

METADATA = "/srv/metadata"
SECONDS = 60

BEGIN = """\
systemctl stop loitsut.service loitsut-worker.service
rm -rf /run/loitsut /var/lib/loitsut /srv/* /run/systemd/system/loitsut-worker.service.d
systemctl daemon-reload
systemctl reset-failed
mkdir /srv/metadata
if [ "$1" != absent ]; then echo "$1" | base64 -d >/srv/metadata/user-data; fi
echo "a boot begins" | systemd-cat --identifier=tests
journalctl --sync
journalctl --quiet --lines=1 --output=cat --show-cursor --identifier=tests | sed -n 's/^-- cursor: //p'
systemctl start loitsut.service
"""

# Ends what it started itself: a process that is killed from outside the container stays its zombie for a while.
FIRST_LINES = """\
lines=$1; shift
exec 3< <(exec "$@")
head --lines="$lines" <&3
kill $!
"""


class Machine:
    """A container whose agent boots as often as it is told to."""

    def __init__(self, inside: Instance) -> None:
        self.inside = inside
        self.began = ""

    def begin(self, user_data: bytes | None) -> None:
        """Begin a boot: of a machine that was never booted, as far as the agent can tell."""
        encoded = "absent" if user_data is None else base64.b64encode(user_data).decode()
        # It prints nothing but the cursor of an entry of its own. (With --after-cursor and a match journalctl 252 leaves out
        # the first entry that matches.)
        self.began = self.run("sh", "-euc", BEGIN, "sh", encoded).strip()

    def boot(self, user_data: bytes | None) -> dict[str, Any]:
        """Boot, and wait until that has ended, well or badly."""
        self.begin(user_data)
        return self.status()

    def status(self) -> dict[str, Any]:
        """The status of the boot, once it has ended."""
        return json.loads(self.inside.run("loitsut", "status", "--wait", "--json", capture=True, timeout=SECONDS).stdout)

    def run(self, *command: str) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.inside.run(*command, capture=True, timeout=SECONDS)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, *properties: str) -> list[str]:
        """Properties of a unit."""
        lines = self.run("systemctl", "show", f"--property={','.join(properties)}", unit).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in properties]

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """What the journal has of this boot."""
        self.run("journalctl", "--sync")
        text = self.run("journalctl", "--output=json", f"--cursor={self.began}", *matches)
        return [json.loads(line) for line in text.splitlines()]

    def wait(self, *matches: str, times: int = 1) -> dict[str, Any]:
        """Wait for an entry of the journal of this boot, old or new, or for the last of several."""
        follow = ["journalctl", "--follow", "--lines=all", "--output=json", f"--cursor={self.began}", *matches]
        first = ["timeout", str(SECONDS), "bash", "-euc", FIRST_LINES, "bash", str(times), *follow]
        done = self.inside.run(*first, capture=True)
        assert done.returncode == 0, f"not in the journal within {SECONDS} s: {' '.join(matches)}\n{self.told()}"
        return json.loads(done.stdout.splitlines()[-1])

    def told(self) -> str:
        """What the agent and its worker have said in this boot."""
        return "\n".join(entry["MESSAGE"] for entry in self.journal("--unit=loitsut.service", "--unit=loitsut-worker.service"))

    def wait_for_file(self, path: str) -> None:
        """Wait until a file is there."""
        self.run("sh", "-c", f"until [ -e {path} ]; do sleep 0.05; done")


@contextlib.contextmanager
def machine(directory: Path, baked: Path, first: bytes | None = None) -> Iterator[Machine]:
    """A container over the base tree, whose agent reads its user-data from a folder; at first perhaps this."""
    layer = directory / "layer"
    (layer / "etc/loitsut").mkdir(parents=True)
    (layer / "etc/loitsut/agent.toml").write_text(f'metadata = "{METADATA}"\n')
    (layer / METADATA.lstrip("/")).mkdir(parents=True)
    if first is not None:
        (layer / METADATA.lstrip("/") / "user-data").write_bytes(first)
    with instance(f"boots-{secrets.token_hex(4)}", b"", [baked, layer], "tests") as inside:
        inside.wait_until_reachable()
        yield Machine(inside)


def document(layer: str, **keys: Any) -> dict[str, Any]:
    """A document that brings its own profile, of one layer."""
    bundle = {"files": {"p.toml": 'layers = ["only"]\n', "layers/only.toml": layer}}
    launch = {"id": secrets.token_hex(8), "name": "m", "pool": "tests"}
    return {"loitsut": 1, "launch": launch, "profile": "p", "bundle": bundle} | keys


def user_data(layer: str, **keys: Any) -> bytes:
    """The same as user-data."""
    return json.dumps(document(layer, **keys)).encode()
