"""The whole way, for real: a generic machine, its user-data, a Buildbot worker, a build; and what is to be seen of it."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.buildbot import Master, example_master
from lab.instance import HOST, Instance, instance

WORKER = "cpp-1"
UNIT = "loitsut-worker.service"
BOOT_SECONDS = 900  # a first run downloads everything
BUILD_SECONDS = 300

# Files by content, owner, mode and time of change, and links by what they say, without what changes by itself.
FINGERPRINT = """\
find / -xdev \\( -path /proc -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/systemd/timers \\) -prune \\
    -o ! -type d -printf '%p %l %u %g %m %s %T@ %C@\\n' | sort
"""

# Every place where a process of any user shows its command line and its environment to others.
PROCESSES = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"

# Files with a text that others than their owner and group may read; to find none is no failure of grep.
READABLE = """\
find / /run -xdev -type f -perm -0004 -exec grep --files-with-matches --fixed-strings --no-messages -e "$1" {} + || true
"""


@dataclass
class Booted:
    """A machine at the end of its boot, and all that went into it."""

    machine: Instance
    buildbot: Master
    password: str
    launch: str
    exit_status: int

    def run(self, *command: str) -> str:
        done = self.machine.run(*command, capture=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path, apt_port: int) -> Iterator[Booted]:
    password, launch = secrets.token_urlsafe(24), f"test-{secrets.token_hex(4)}"
    with example_master(tmp_path_factory.mktemp("master") / "master", {WORKER: password}) as buildbot:
        user_data = json.dumps({
            "loitsut": 1,
            "launch": {"id": launch, "name": launch, "pool": "tests"},
            "profile": "cpp",
            "params": {"apt_proxy": f"http://{HOST}:{apt_port}"},
            "worker": {"master": f"{HOST}:{buildbot.worker_port}", "name": WORKER, "password": password},
        }).encode()
        with instance(launch, user_data, [baked], "tests") as machine:
            machine.wait_until_reachable()
            ended = machine.run("loitsut", "status", "--wait", timeout=BOOT_SECONDS)
            yield Booted(machine, buildbot, password, launch, ended.returncode)


def test_the_boot_is_ready(booted: Booted) -> None:
    assert booted.exit_status == 0, booted.machine.run("journalctl", "--unit=loitsut.service", capture=True).stdout
    status = json.loads(booted.run("loitsut", "status", "--json"))
    assert (status["state"], status["profile"], status["launch"]) == ("ready", "cpp", booted.launch)
    assert status["worker"]["state"] == "ready"
    assert [phase["phase"] for phase in status["phases"]] == [
        "metadata", "user-data", "profile", "apply", "launch", "watch",
    ]
    assert {step["outcome"] for step in status["steps"]} <= {"changed", "unchanged"}


def test_the_master_builds_on_it(booted: Booted) -> None:
    booted.buildbot.wait_for_worker(WORKER, 30)
    build = booted.buildbot.wait_for_build(booted.buildbot.force("hello-boost"), BUILD_SECONDS, on_step=print)
    assert build["state_string"] == "build successful"
    assert "Boost" in booted.buildbot.log(booted.buildbot.steps(build)[-1])


def test_the_worker_is_a_unit_of_its_own_and_runs_as_its_user(booted: Booted) -> None:
    main = booted.run("systemctl", "show", "--property=MainPID", "--value", UNIT).strip()
    assert booted.run("ps", "-o", "user=", "-p", main).strip() == "buildbot"
    assert f"/{UNIT}" in booted.run("cat", f"/proc/{main}/cgroup")
    assert "NoNewPrivs:\t1" in booted.run("cat", f"/proc/{main}/status")


def test_applying_again_changes_nothing(booted: Booted) -> None:
    before = booted.run("sh", "-c", FINGERPRINT)
    assert "/var/lib/dpkg/status" in before and "/opt/buildbot-worker/bin/twistd" in before
    assert booted.run("loitsut", "plan").endswith("nothing to change\n")
    assert booted.run("loitsut", "apply").endswith("nothing to change\n")
    assert booted.run("sh", "-c", FINGERPRINT) == before


def test_the_machine_was_up_before_the_profile_was_applied(booted: Booted) -> None:
    ready = booted.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", "multi-user.target")
    (applied,) = journal(booted, "LOITSUT_STATE=ready")
    assert 0 < int(ready) < int(applied["__MONOTONIC_TIMESTAMP"])


def test_the_journal_has_fields_to_ask_for(booted: Booted) -> None:
    assert len(journal(booted, "LOITSUT_PHASE=apply")) == 1
    packages = journal(booted, "LOITSUT_LAYER=ci-base", "LOITSUT_OUTCOME=changed")
    assert any("/etc/apt/apt.conf.d/01loitsut-proxy" in entry["LOITSUT_RESOURCE"] for entry in packages)
    assert [entry["LOITSUT_LAUNCH"] for entry in journal(booted, "LOITSUT_PROFILE=cpp")] == [booted.launch]
    assert [entry["LOITSUT_WORKER"] for entry in journal(booted) if "LOITSUT_WORKER" in entry] == ["starting", "ready"]


def test_where_the_time_went_is_told(booted: Booted) -> None:
    lines = booted.run("loitsut", "analyze", "blame").splitlines()
    assert all(re.fullmatch(r" *(\d+ms|\d+\.\d{3}s)  \S.*", line) for line in lines)
    items = json.loads(booted.run("loitsut", "analyze", "blame", "--json"))
    times = [item["milliseconds"] for item in items]
    assert len(lines) == len(items) and times == sorted(times, reverse=True)
    assert {"phase metadata", "phase launch"} < {item["what"] for item in items}
    assert any(item["what"].startswith("venv /opt/buildbot-worker") for item in items)


def test_the_password_is_where_it_must_be_and_nowhere_else(booted: Booted) -> None:
    assert booted.password in booted.run("cat", "/run/loitsut/worker/buildbot.json")
    shown = {
        "processes": booted.run("sh", "-c", PROCESSES),
        "journal": booted.run("journalctl", "--output=export", "--all"),
        "status": booted.run("loitsut", "status", "--json"),
        "unit": booted.run("systemctl", "show", UNIT, "loitsut.service") + booted.run("systemctl", "cat", UNIT),
        "console": booted.machine.console(),
    }
    assert [where for where, text in shown.items() if booted.password in text] == []
    assert booted.run("sh", "-c", READABLE, "sh", booted.password) == ""
    # They would have been seen.
    assert "/opt/buildbot-worker/bin/twistd" in shown["processes"] and booted.launch in shown["journal"]
    assert "/run/loitsut/status.json\n" in booted.run("sh", "-c", READABLE, "sh", booted.launch)


def journal(booted: Booted, *matches: str) -> list[dict[str, str]]:
    """Entries of the boot job."""
    text = booted.run("journalctl", "--output=json", "_SYSTEMD_UNIT=loitsut.service", *matches)
    return [json.loads(line) for line in text.splitlines()]
