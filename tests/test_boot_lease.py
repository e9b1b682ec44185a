"""Leases, with a driver and a master that are dead: the instance ends in time, and without a lease it never does."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boots import Machine, document, machine, user_data
from lab.instance import HOST, Instance, instance

SECONDS = 120

STAYS = "[worker]\ntype = 'command'\ncommand = ['/bin/sleep', 'infinity']\n"
BUSY = "[worker]\ntype = 'command'\ncommand = ['/bin/sh', '-c', 'sleep infinity & wait']\n"
DONE = "[worker]\ntype = 'command'\ncommand = ['/bin/sleep', '3']\n"
DEAF = "[worker]\ntype = 'command'\ncommand = ['/bin/sh', '-c', 'trap \"\" TERM; while :; do sleep 1; done']\nstop.grace = '3s'\n"
STUCK = "[[resource]]\ntype = 'command'\ncommand = ['sh', '-c', 'echo begun; exec sleep infinity']\n"
FAILS = "[[resource]]\ntype = 'command'\ncommand = ['sh', '-c', 'exit 7']\n"
NOTHING = "[[resource]]\ntype = 'file'\npath = '/srv/x'\ncontent = ''\n"

# After the reboot nobody tells the machine anything.
FORGOTTEN = """
[[resource]]
type = "file"
path = "/etc/loitsut/agent.toml"
content = 'metadata = "/srv/nowhere"'
[[resource]]
type = "reboot"
onlyif = ["true"]
"""

# Nobody listens there.
DEAD = {"url": f"http://{HOST}:9", "token": "t0ken-t0ken"}
LONG = "8h"


@pytest.mark.parametrize(("layer", "lease", "told"), [
    pytest.param(STUCK, {"join": "5s", "life": LONG}, "failed|join|only|command sh", id="join, while applying"),
    pytest.param(STUCK, {"life": "5s"}, "as old as `life`", id="life, while applying"),
    pytest.param(STAYS, {"join": LONG, "idle": "5s"}, "no work for `idle`", id="idle"),
    pytest.param(NOTHING, {"idle": "5s"}, "no work for `idle`", id="idle, without a worker"),
    pytest.param(BUSY, {"idle": "2s", "life": "12s"}, "as old as `life`", id="life, at work"),
    pytest.param(DEAF, {"life": "8s"}, "as old as `life`", id="life, with a worker that does not listen"),
    pytest.param(DONE, {"life": LONG}, "state|stopped", id="the worker is done"),
    pytest.param(FAILS, {"life": LONG}, "failed|apply|only|command sh|7|", id="a failure"),
    pytest.param(FAILS, {"on_failure": {"hold": "3s"}}, "held for `hold`", id="a failure that is held"),
    pytest.param(FORGOTTEN, {"on_failure": {"hold": "3s"}}, "held for `hold`", id="no metadata after a reboot"),
])
def test_an_instance_with_a_lease_ends(baked: Path, layer: str, lease: dict[str, Any], told: str) -> None:
    launch = f"lease-{secrets.token_hex(4)}"
    keys = {"lease": lease, "driver": DEAD, "launch": {"id": launch, "name": launch, "pool": "tests"}}
    with instance(launch, user_data(layer, **keys), [baked], "tests") as one:
        reason, console = until_its_end(one), one.console()
    assert reason == "powered off", console
    assert told in console


def until_its_end(one: Instance) -> str | None:
    """Why it ended, if it did in time."""
    deadline = time.monotonic() + SECONDS
    while (reason := one.ended()) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return reason


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked) as one:
        one.status()
        yield one


@pytest.mark.parametrize("layer", [DONE, FAILS, NOTHING])
def test_without_a_lease_nothing_powers_off(booted: Machine, layer: str) -> None:
    booted.boot(user_data(layer, driver=DEAD))
    booted.run("systemctl", "stop", "loitsut.service")
    assert ends_by_itself(booted) == []


def ends_by_itself(booted: Machine) -> list[str]:
    """What of this machine's systemd would power it off."""
    units = booted.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "loitsut-poweroff.*")
    return [line.split()[0] for line in units.splitlines()] + booted.run("systemctl", "list-jobs", "--no-legend").splitlines()


def test_an_agent_that_is_killed_makes_the_life_no_longer(booted: Machine) -> None:
    booted.boot(user_data(STAYS, lease={"join": "1h", "life": "2h"}))
    before = ledger(booted)
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "loitsut.service")
    booted.wait("LOITSUT_PHASE=watch", times=2)
    after = ledger(booted)
    assert (before["run"], after["run"], after["boot"]) == (1, 2, before["boot"])
    began = [one["at"]["secs"] - one["age"]["secs"] for one in (before, after)]
    assert abs(began[0] - began[1]) <= 1, (before, after)


def test_a_build_that_outlives_the_agent_is_not_idle_when_it_comes_back(booted: Machine) -> None:
    booted.boot(user_data(BUSY, lease={"join": "1h", "idle": "3s", "life": "2h"}))
    booted.run("sh", "-c", "while grep -q '\"idle_since\": null' /var/lib/loitsut/launch.json; do sleep 0.1; done")
    # systemd starts it again 5 s later: nobody has seen the worker's work for longer than `idle`.
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "loitsut.service")
    booted.wait("LOITSUT_PHASE=watch", times=2)
    assert booted.show("loitsut-worker.service", "ActiveState") == ["active"]
    assert ends_by_itself(booted) == ["loitsut-poweroff.timer"]
    assert "LOITSUT_ENDING" not in booted.run("journalctl", f"--cursor={booted.began}", "--output=json")


def ledger(booted: Machine) -> dict[str, Any]:
    return json.loads(booted.run("cat", "/var/lib/loitsut/launch.json"))


def test_an_agent_that_crashes_again_and_again_is_outlived_by_its_lease(booted: Machine) -> None:
    crashes = "[[resource]]\ntype = 'command'\nscript = 'kill -KILL $PPID; sleep infinity'\ncreates = '/srv/never'\n"
    booted.begin(user_data(crashes, lease={"life": "1h"}))
    booted.wait("UNIT=loitsut.service", "MESSAGE=loitsut.service: Start request repeated too quickly.")
    assert ends_by_itself(booted) == ["loitsut-poweroff.timer"]
    # Another launch has a right to a life of its own.
    booted.boot(user_data(STAYS))
    booted.run("sh", "-c", "while systemctl --quiet is-active loitsut-poweroff.timer; do sleep 0.1; done")


def test_systemd_watches_the_guard(booted: Machine) -> None:
    booted.boot(json.dumps(document(STAYS, lease={"life": "1h"})).encode())
    assert booted.show("loitsut.service", "WatchdogUSec") == ["2min"]
