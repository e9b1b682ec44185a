"""Workers that come up in every way they may, and go wrong in every way they do."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from boots import METADATA, Machine, machine, user_data

WORKER = "loitsut-worker.service"

# Stays, once it has said so; `exec`, so that there is one process.
STAYS = "echo at work; exec sleep infinity"

# What systemd, a shell or a template might take for more than text.
ODD = "it's \"$HOME\" ${HOME} `id` %n %% \\t ; # {%"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked) as one:
        one.status()
        yield one


def worker(script: str, keys: str = "") -> bytes:
    """User-data of a worker that is a shell script, with more keys of its table."""
    return user_data(f"[worker]\ntype = 'command'\ncommand = ['/bin/sh', '-c', '''{script}''']\n{keys}\n")


def words_of(failure: dict) -> str:
    """All that a failure says; the worker is what failed, so it is of the phase `launch`."""
    assert failure["class"] == "launch"
    return failure["message"]


@pytest.mark.parametrize(("script", "keys"), [
    pytest.param(STAYS, "", id="at once"),
    pytest.param(STAYS, "ready.log = 'at work'", id="by a line"),
    pytest.param("sleep 0.3; touch /srv/ready; exec sleep infinity", "ready.file = '/srv/ready'", id="by a file"),
    # systemd's own socket activation is the one TCP server that a minimal image has.
    pytest.param(
        "exec systemd-socket-activate --listen=127.0.0.1:4711 sleep infinity", "ready.port = 4711", id="by a port",
    ),
])
def test_a_worker_is_ready(booted: Machine, script: str, keys: str) -> None:
    status = booted.boot(worker(script, keys))
    assert (status["state"], status["worker"]["state"]) == ("ready", "ready")
    assert booted.show(WORKER, "ActiveState", "NRestarts") == ["active", "0"]


def test_it_runs_as_its_user_in_its_place_with_its_environment(booted: Machine) -> None:
    status = booted.boot(worker(
        'printf "%s|" "$(id -un)" "$PWD" "$HOME" "$GREETING" "$LANG"; echo; exec sleep infinity',
        f"user = 'games'\nready.log = '|'\nenvironment = {{ GREETING = '''{ODD}''' }}",
    ))
    assert status["state"] == "ready", status
    assert said(booted) == f"games|/usr/games|/usr/games|{ODD}|C.UTF-8|"


def test_arguments_arrive_as_they_are_written(booted: Machine) -> None:
    words = f"['/bin/sh', '-c', 'printf \"[%s]\\n\" \"$1\"; exec sleep infinity', 'sh', '''{ODD}''']"
    layer = f"[worker]\ntype = 'command'\ncommand = {words}\nready.log = '['\n"
    assert booted.boot(user_data(layer))["state"] == "ready"
    assert said(booted) == f"[{ODD}]"


def said(booted: Machine) -> str:
    """The first line that the worker printed."""
    return booted.journal(f"_SYSTEMD_UNIT={WORKER}")[0]["MESSAGE"]


def test_a_missing_program_is_named(booted: Machine) -> None:
    failure = booted.boot(user_data("[worker]\ntype = 'command'\ncommand = ['/nowhere/worker']\n"))["failure"]
    assert "/nowhere/worker" in words_of(failure) and "journalctl -u loitsut-worker" in words_of(failure)


def test_one_that_ends_at_once_is_a_failure_with_its_last_words(booted: Machine) -> None:
    failure = booted.boot(worker("echo 'no licence found'; exit 3", "ready.log = 'at work'"))["failure"]
    for word in ("ended before it was ready", "exit status 3", "no licence found"):
        assert word in words_of(failure)


def test_one_that_ends_at_once_with_success_is_not_ready_either(booted: Machine) -> None:
    failure = booted.boot(worker("exit 0", "ready.log = 'at work'"))["failure"]
    assert "ended before it was ready" in words_of(failure) and "it printed nothing" in words_of(failure)


def test_one_that_is_never_ready_is_a_failure(booted: Machine) -> None:
    failure = booted.boot(worker(STAYS, "ready = { file = '/srv/never', timeout = '1s' }"))["failure"]
    for word in ("not ready within 1 s", "/srv/never", "at work"):
        assert word in words_of(failure)
    # Nobody watches over it, so it must not take builds either.
    assert booted.show(WORKER, "ActiveState") == ["inactive"]


def test_a_file_of_an_earlier_life_does_not_make_it_ready(booted: Machine) -> None:
    keys = "ready = { file = '/etc/hostname', timeout = '1s' }"
    assert "not ready within 1 s" in words_of(booted.boot(worker(STAYS, keys))["failure"])


def test_one_that_crashes_again_and_again_is_a_failure(booted: Machine) -> None:
    keys = "restart = 'on-failure'\nready = { log = 'at work', timeout = '6s' }"
    failure = booted.boot(worker("echo boom; exit 1", keys))["failure"]
    assert "not ready within 6 s" in words_of(failure)
    assert words_of(failure).count("| boom") > 1, "it was not started again"


def test_one_that_ends_well_later_ends_the_boot_job_well(booted: Machine) -> None:
    assert booted.boot(worker("until [ -e /srv/end ]; do sleep 0.05; done"))["state"] == "ready"
    booted.run("touch", "/srv/end")
    booted.wait("LOITSUT_WORKER=exited")
    booted.wait("UNIT=loitsut.service", "MESSAGE_ID=7ad2d189f7e94e70a38c781354912448")  # a unit has succeeded
    assert booted.status()["state"] == "stopped"
    assert booted.show("loitsut.service", "ActiveState", "Result") == ["inactive", "success"]


def test_one_that_is_killed_is_a_failure(booted: Machine) -> None:
    assert booted.boot(worker(STAYS))["state"] == "ready"
    booted.run("systemctl", "kill", "--signal=KILL", WORKER)
    booted.wait("LOITSUT_STATE=failed")
    status = booted.status()
    assert (status["worker"]["state"], status["worker"]["result"]) == ("failed", "signal")
    assert status["failure"]["class"] == "watch"


def test_one_that_is_killed_comes_back_if_it_shall(booted: Machine) -> None:
    assert booted.boot(worker(STAYS, "restart = 'on-failure'\nready.log = 'at work'"))["state"] == "ready"
    booted.run("systemctl", "kill", "--signal=KILL", WORKER)
    booted.wait("LOITSUT_WORKER=restarting")
    # The second one: it is ready again.
    booted.wait("LOITSUT_WORKER=ready", times=2)
    status = booted.status()
    assert (status["state"], status["worker"]["state"]) == ("ready", "ready")
    assert booted.show(WORKER, "ActiveState", "NRestarts") == ["active", "1"]


@pytest.mark.parametrize("how", ["restart", "kill --kill-whom=main --signal=KILL"])
def test_an_agent_that_starts_again_leaves_the_worker_alone(booted: Machine, how: str) -> None:
    assert booted.boot(worker(STAYS, "ready.log = 'at work'"))["state"] == "ready"
    before = booted.show(WORKER, "MainPID", "InvocationID")
    booted.run("systemctl", *how.split(), "loitsut.service")
    booted.wait("LOITSUT_PHASE=watch", times=2)
    status = booted.status()
    assert (status["state"], status["worker"]["state"]) == ("ready", "ready")
    assert booted.show(WORKER, "MainPID", "InvocationID") == before


def test_another_password_starts_the_worker_anew(booted: Machine) -> None:
    identity = {"master": "master.example.org:9989", "name": "m"}
    launch = {"id": "the-same", "name": "m", "pool": "tests"}
    script = "echo at work; exec sleep infinity"
    layer = f"[worker]\ntype = 'command'\ncommand = ['/bin/sh', '-c', '{script}']\nready.log = 'at work'\n"
    assert booted.boot(user_data(layer, launch=launch, worker=identity | {"password": "the first"}))["state"] == "ready"
    before = booted.show(WORKER, "InvocationID")
    second = base64.b64encode(user_data(layer, launch=launch, worker=identity | {"password": "the second"})).decode()
    booted.run("sh", "-c", f"echo {second} | base64 -d >{METADATA}/user-data; systemctl restart loitsut.service")
    booted.wait("LOITSUT_PHASE=watch", times=2)
    assert booted.show(WORKER, "InvocationID") != before


def test_an_agent_that_is_stopped_leaves_the_worker_alone(booted: Machine) -> None:
    assert booted.boot(worker(STAYS, "ready.log = 'at work'"))["state"] == "ready"
    booted.run("systemctl", "stop", "loitsut.service")
    assert booted.show("loitsut.service", "ActiveState", "Result") == ["inactive", "success"]
    assert booted.show(WORKER, "ActiveState") == ["active"]
    assert booted.status()["state"] == "ready"


def test_a_stop_while_the_worker_gets_ready_is_obeyed(booted: Machine) -> None:
    booted.begin(worker(STAYS, "ready.file = '/srv/never'"))
    booted.wait(f"_SYSTEMD_UNIT={WORKER}")
    booted.run("systemctl", "stop", "loitsut.service")
    assert booted.show("loitsut.service", "Result") == ["success"]
    assert booted.status()["state"] == "stopped"


def test_daemons_of_a_build_end_with_their_worker(booted: Machine) -> None:
    script = "setsid sh -c 'echo $$ >/srv/daemon; exec sleep infinity' & until [ -e /srv/end ]; do sleep 0.05; done"
    assert booted.boot(worker(script))["state"] == "ready"
    booted.wait_for_file("/srv/daemon")
    daemon = booted.run("cat", "/srv/daemon").strip()
    assert booted.run("cat", f"/proc/{daemon}/comm").strip() == "sleep"
    booted.run("touch", "/srv/end")
    booted.wait("LOITSUT_WORKER=exited")
    booted.run("sh", "-c", f"test ! -d /proc/{daemon}")


def test_a_stopped_worker_ends_with_its_unit(booted: Machine) -> None:
    assert booted.boot(worker(STAYS, "stop = { grace = '1s' }"))["state"] == "ready"
    booted.run("systemctl", "kill", "--signal=STOP", WORKER)
    booted.run("systemctl", "stop", WORKER)
    assert booted.show(WORKER, "ActiveState", "MainPID") == ["inactive", "0"]


def test_a_flood_of_output_drowns_neither_the_ready_line_nor_the_agent(booted: Machine) -> None:
    script = "yes flood | head --lines=100000; echo at work; exec sleep infinity"
    assert booted.boot(worker(script, "ready.log = 'at work'"))["state"] == "ready"
    agent = booted.show("loitsut.service", "MainPID")[0]
    peak = next(line for line in booted.run("cat", f"/proc/{agent}/status").splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < 64 * 1024
