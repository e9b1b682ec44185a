"""Boots that need a reboot in the middle, in a container that is really rebooted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boots import Machine, machine, user_data


@pytest.fixture
def booted(tmp_path: Path, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path, baked) as one:
        yield one


LAYER = """\
[[resource]]
type = "command"
script = "echo before >>/srv/log; touch /srv/reboot-required"

[[resource]]
type = "reboot"
onlyif = ["test", "-e", "/srv/reboot-required"]

[[resource]]
type = "command"
script = "echo after >>/srv/log"
"""

WORKER = """
[worker]
type = "command"
command = ["/bin/sleep", "infinity"]
"""

# Something at boot that sees to what the reboot was for, before the agent looks.
CLEARS = """\
[Unit]
Before=loitsut.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cp /var/lib/loitsut/launch.json /srv/ledger; rm -f /srv/reboot-required'
[Install]
WantedBy=multi-user.target
"""


def reboots(booted: Machine) -> str:
    """Wait until the machine is another boot's, and its agent has ended; the boot's status as JSON."""
    # In this boot's /run: a reboot takes it away.
    booted.run("sh", "-c", "until [ -e /run/loitsut/status.json ]; do sleep 0.05; done; touch /run/this-boot || true")
    booted.inside.run("sh", "-c", "while [ -e /run/this-boot ]; do sleep 0.05; done", capture=True, timeout=60)
    booted.inside.wait_until_reachable()
    return booted.status()["state"]


def age(ledger: dict[str, Any]) -> int:
    """How old the launch was when this was written, in nanoseconds."""
    return ledger["age"]["secs"] * 10**9 + ledger["age"]["nanos"]


def test_a_boot_goes_on_after_the_reboot_that_it_asked_for(booted: Machine) -> None:
    booted.run("sh", "-euc", f"cat >/etc/systemd/system/clears.service <<'END'\n{CLEARS}\nEND\nsystemctl enable clears")
    booted.begin(user_data(LAYER + WORKER, lease={"life": "1h"}))
    assert reboots(booted) == "ready"
    assert booted.run("cat", "/srv/log") == "before\nafter\n"
    assert booted.show("loitsut-worker.service", "ActiveState") == ["active"]
    before, after = (json.loads(booted.run("cat", path)) for path in ("/srv/ledger", "/var/lib/loitsut/launch.json"))
    assert before["boot"] != after["boot"]
    assert (before["run"], after["run"]) == (1, 2)
    assert age(after) >= age(before) > 0, "the launch's life began anew"


def test_a_reboot_that_does_not_help_is_an_error_that_names_it(booted: Machine) -> None:
    booted.begin(user_data(LAYER))
    assert reboots(booted) == "failed"
    failure = booted.status()["failure"]
    assert "still asks for it" in failure["message"] and "test -e /srv/reboot-required" in failure["message"]
    assert failure["place"] == "layers/only.toml:5"
    assert booted.run("cat", "/srv/log") == "before\n"


def test_apply_by_hand_says_so_and_reboots_nothing(booted: Machine) -> None:
    booted.run("sh", "-c", "mkdir -p /etc/loitsut/profiles/layers; touch /srv/reboot-required")
    booted.run("sh", "-c", "echo 'layers = [\"only\"]' >/etc/loitsut/profiles/p.toml")
    booted.run("sh", "-c", f"cat >/etc/loitsut/profiles/layers/only.toml <<'END'\n{LAYER}\nEND")
    before = booted.run("cat", "/proc/sys/kernel/random/boot_id")
    done = booted.inside.run("loitsut", "apply", "p", capture=True)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "1 of 3 steps done; a reboot is needed: `test -e /srv/reboot-required` says so" in done.stdout
    assert booted.run("cat", "/srv/log") == "before\n"
    assert booted.run("cat", "/proc/sys/kernel/random/boot_id") == before
