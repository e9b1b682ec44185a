"""Boots that fail, are stopped or are killed while resources are applied."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from boots import Machine, machine, user_data

# Succeeds once multi-user.target is reached, which it never would be if the boot job held that up.
FIRST = """\
[[resource]]
type = "command"
command = ["sh", "-c", "until systemctl is-active --quiet multi-user.target; do sleep 0.1; done"]
timeout = "30s"
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked, user_data(FIRST)) as one:
        yield one


def script(text: str, keys: str = "") -> bytes:
    """User-data of one command that is a script; more keys of it."""
    return user_data(f"[[resource]]\ntype = 'command'\nscript = '''{text}'''\n{keys}\n")


def sleepers(booted: Machine) -> list[str]:
    """The programs that scripts of these tests have left."""
    found = booted.inside.run("pgrep", "--list-full", "sleep", capture=True)
    return found.stdout.splitlines()


def test_the_machine_is_up_before_the_profile_is_applied(booted: Machine) -> None:
    status = booted.status()
    assert status["state"] == "ready", status.get("failure")


FAILING = """\
[[resource]]
type = "file"
path = "/srv/before"
content = ""

[[resource]]
type = "command"
command = ["sh", "-c", "seq 60; echo 'no such library' >&2; exit 7"]

[[resource]]
type = "file"
path = "/srv/after"
content = ""
"""


def test_a_resource_that_fails_is_told_with_all_that_is_known(booted: Machine) -> None:
    failure = booted.boot(user_data(FAILING))["failure"]
    assert {key: failure[key] for key in ("class", "layer", "place", "exit_code")} == {
        "class": "apply", "layer": "only", "place": "layers/only.toml:6", "exit_code": 7,
    }
    assert failure["resource"].startswith("command sh")
    assert failure["output"] == [*map(str, range(12, 61)), "no such library"]
    (ended,) = booted.journal("LOITSUT_PHASE=apply", "LOITSUT_LAYER=only", "LOITSUT_STATE=failed", "LOITSUT_EXIT_CODE=7")
    shown = booted.inside.run("loitsut", "status", capture=True)
    assert shown.returncode == 1
    for text in (failure["message"], ended["MESSAGE"], shown.stdout):
        assert "layers/only.toml:6" in text and "no such library" in text
    # What came before it is done, what comes after it is not; and a failure is not repeated by itself.
    assert booted.run("ls", "/srv").split() == ["before", "metadata"]
    assert booted.show("loitsut.service", "ActiveState", "Result", "NRestarts") == ["failed", "exit-code", "0"]


def test_a_stop_in_the_middle_leaves_nothing_behind(booted: Machine) -> None:
    booted.begin(script("sleep infinity & touch /srv/begun; sleep infinity"))
    booted.wait_for_file("/srv/begun")
    booted.run("systemctl", "stop", "loitsut.service")
    # Not `timeout`: nobody had to be killed by systemd.
    assert booted.show("loitsut.service", "ActiveState", "Result") == ["inactive", "success"]
    assert booted.status()["state"] == "stopped"
    assert booted.inside.run("loitsut", "status", capture=True).returncode == 1
    assert sleepers(booted) == []


def test_an_agent_that_is_killed_in_the_middle_is_started_again_and_ends_right(booted: Machine) -> None:
    once_is_not_enough = 'echo run >>/srv/runs; [ "$(wc -l </srv/runs)" -gt 1 ] || sleep infinity; touch /srv/done'
    booted.begin(script(once_is_not_enough, "creates = '/srv/done'"))
    booted.wait_for_file("/srv/runs")
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "loitsut.service")
    booted.wait("LOITSUT_STATE=ready")
    assert booted.status()["state"] == "ready"
    assert booted.run("cat", "/srv/runs") == "run\nrun\n"
    assert booted.show("loitsut.service", "NRestarts") == ["1"]
    assert sleepers(booted) == []


def test_a_command_that_may_have_run_is_reported_and_not_guessed(booted: Machine) -> None:
    booted.begin(script("echo run >>/srv/runs; sleep infinity"))
    booted.wait_for_file("/srv/runs")
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "loitsut.service")
    booted.wait("LOITSUT_STATE=failed")
    failure = booted.status()["failure"]
    assert "layers/only.toml:1" in failure["message"]
    assert "its end is not known" in failure["message"] and "help:" in failure["message"]
    assert booted.run("cat", "/srv/runs") == "run\n"


def test_an_agent_that_crashes_again_and_again_is_given_up_and_missed(booted: Machine) -> None:
    booted.begin(script("kill -KILL $PPID; sleep infinity", "creates = '/srv/never'"))
    booted.wait("UNIT=loitsut.service", "MESSAGE=loitsut.service: Start request repeated too quickly.")
    assert booted.show("loitsut.service", "ActiveState", "NRestarts") == ["failed", "3"]
    status = booted.inside.run("loitsut", "status", capture=True)
    assert status.returncode == 2
    assert "gone in the middle" in status.stdout
    assert sleepers(booted) == []


def test_two_agents_are_never_at_work_at_the_same_time(booted: Machine) -> None:
    slow = script("touch /srv/begun; until [ -e /srv/go ]; do sleep 0.05; done", "creates = '/srv/go'")
    booted.begin(slow)
    booted.wait_for_file("/srv/begun")
    by_hand = booted.inside.run("loitsut", "apply", "--user-data", "/srv/metadata/user-data", capture=True)
    assert by_hand.returncode == 1 and "another loitsut is at work" in by_hand.stderr
    booted.run("touch", "/srv/go")
    assert booted.status()["state"] == "ready"


def test_a_boot_waits_for_one_that_works_already(booted: Machine) -> None:
    booted.boot(script("true"))
    booted.run("systemd-run", "--quiet", "--unit=other", "flock", "/run/loitsut/lock", "sh", "-c",
               "touch /srv/held; exec sleep infinity")
    booted.wait_for_file("/srv/held")
    booted.run("systemctl", "restart", "loitsut.service")
    booted.wait("MESSAGE=waiting for another loitsut to finish (at most 1800 s)")
    booted.run("systemctl", "stop", "other.service")
    booted.wait("LOITSUT_STATE=ready", times=2)
    assert booted.status()["state"] == "ready"
