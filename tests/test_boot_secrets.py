"""Planted secrets, looked for in every place of a machine where somebody else could find them."""

import base64
import json
import secrets
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from boots import METADATA, Machine, machine, user_data
from lab.instance import HOST

WORKER = "loitsut-worker.service"

PROFILE = """\
[params.key]
secret = true

[[resource]]
type = "command"
script = '''{script}'''

[[resource]]
type = "file"
path = "/srv/key"
content = "{{{{ params.key }}}}"

[[resource]]
type = "file"
path = "/srv/password"
owner = "games"
content = "{{{{ worker.password }}}}"

[worker]
type = "command"
user = "games"
command = ["/bin/sh", "-c", "echo at work; exec sleep infinity"]
ready.log = "at work"
environment = {{ KEY = "{{{{ params.key }}}}" }}
"""

# A secret as programs print it when they fail, or when somebody looks for a mistake.
TOLD = """
set -x
key=$LOITSUT_PARAM_KEY
echo "$key"; echo "user:$key" >&2
printf %s "$key" | base64
printf %s "user:$key" | base64
curl "http://127.0.0.1:1/?key=$key" || true
echo "{\\"key\\": \\"$key\\"}"
"""

# Files of the machine with any of the texts, their modes and owners; the kernel's own have none.
HAVING = """\
find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f -size -64M \\
    -exec grep --files-with-matches --fixed-strings --no-messages --binary-files=text --file=/dev/shm/texts {} + |
    xargs --no-run-if-empty stat --format='%n %a %U' || true
"""

# What a build (any user) sees of other users' processes.
SEEN = """\
setpriv --reuid=nobody --regid=nogroup --clear-groups -- \\
    sh -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/mem 2>&-' | tr '\\0' '\\n' || true
"""


@dataclass
class Planted:
    """What is told to the machine, and nobody else is to know."""

    key: str
    password: str
    token: str

    def texts(self) -> list[str]:
        """Every form in which somebody could read it."""
        found = []
        for secret in (self.key, self.password, self.token):
            found += [secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]]
            # What of its base64 does not depend on what stands around it.
            for before in range(3):
                encoded = base64.b64encode(b"\\0" * before + secret.encode()).decode()
                found.append(encoded[4 if before else 0:(before + len(secret)) // 3 * 4])
        return found


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked) as one:
        one.status()
        yield one


@pytest.fixture
def planted() -> Planted:
    key, password, token = (secrets.token_urlsafe(24) for _ in range(3))
    return Planted(key=f"key/{key}+x", password=password, token=token)


def document(planted: Planted, script: str) -> bytes:
    return user_data(
        PROFILE.format(script=script), params={"key": planted.key},
        worker={"master": "ci.example.org:9989", "name": "m", "password": planted.password},
        # Nobody listens there, so that every report is complained of.
        driver={"url": f"http://{HOST}:9", "token": planted.token}, lease={"life": "8h", "on_failure": {"hold": "8h"}},
    )


def found(booted: Machine, planted: Planted) -> dict[str, str]:
    """The files that have a secret, but for the user-data that the test itself has put there: mode and owner."""
    texts = base64.b64encode("\n".join(planted.texts()).encode()).decode()
    # On a file system that is left out of the search, and gone after it.
    booted.run("sh", "-c", f"umask 077; echo {texts} | base64 -d >/dev/shm/texts")
    lines = booted.run("sh", "-c", f"{HAVING}\nrm /dev/shm/texts").splitlines()
    files = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}
    files.pop(f"{METADATA}/user-data", None)
    return files


def assert_not_told(booted: Machine, planted: Planted) -> None:
    told = {
        "journal": booted.run("journalctl", "--output=json"),
        "console": booted.inside.console(),
        "status": json.dumps(booted.status()),
        "other processes": booted.run("sh", "-c", SEEN),
    }
    for place, text in told.items():
        assert text, place
        for secret in planted.texts():
            assert secret not in text, f"{secret} is in {place}"


def test_a_secret_is_only_where_it_belongs(booted: Machine, planted: Planted) -> None:
    status = booted.boot(document(planted, f"{TOLD}true"))
    assert status["state"] == "ready", status
    assert found(booted, planted) == {
        "/run/loitsut/worker/environment": "600 root", "/srv/key": "600 root", "/srv/password": "600 games",
    }
    assert_not_told(booted, planted)


def test_a_failing_command_does_not_tell_it(booted: Machine, planted: Planted) -> None:
    failure = booted.boot(document(planted, f"{TOLD}exit 3"))["failure"]
    assert failure["exit_code"] == 3 and "***" in json.dumps(failure), failure
    assert found(booted, planted) == {}
    assert_not_told(booted, planted)


def test_the_worker_cannot_look_into_the_agent(booted: Machine, planted: Planted) -> None:
    assert booted.boot(document(planted, "true"))["state"] == "ready"
    agent = booted.show("loitsut.service", "MainPID")[0]
    as_worker = ["setpriv", "--reuid=games", "--regid=games", "--clear-groups", "--"]
    for path in (f"/proc/{agent}/mem", f"/proc/{agent}/environ", "/run/loitsut/worker/environment", "/var/lib/loitsut/"):
        done = booted.inside.run(*as_worker, "ls" if path.endswith("/") else "cat", path, capture=True)
        assert done.returncode != 0 and "ermission denied" in done.stderr, path
