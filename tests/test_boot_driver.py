"""What a driver hears of real boots, and what becomes of its orders: docs/driver-protocol.md from the other end."""

import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from boots import document
from driver_recorder import Answer, Recorder
from lab.instance import DRIVER, HOST, Instance, instance

SECONDS = 120
LEASE = {"join": "10m", "idle": "1h", "life": "2h"}

# What an agent may need at most, whatever a driver does: well above what it needs with a good one.
MOST_KIB = 64 * 1024

WORKER = "[worker]\ntype = 'command'\ncommand = ['/bin/sleep', 'infinity']\n"
KEY = "[params.key]\nsecret = true\n"
MOTD = "[[resource]]\ntype = 'file'\npath = '/srv/motd'\ncontent = 'hello'\n"
KEYFILE = "[[resource]]\ntype = 'file'\npath = '/srv/key'\ncontent = '{{ params.key }}'\n"


class Launch:
    """A launch whose user-data has three secrets, and a driver."""

    def __init__(self, layer: str, url: str, lease: dict[str, Any], **driver: str) -> None:
        self.id = f"driver-{secrets.token_hex(4)}"
        self.secrets = [secrets.token_hex(16) for _ in range(3)]
        self.token, password, key = self.secrets
        params = {"params": {"key": key}} if layer.startswith(KEY) else {}
        self.document = document(
            layer, launch={"id": self.id, "name": self.id, "pool": "tests"}, lease=lease,
            worker={"master": "ci.example.org:9989", "name": "m", "password": password},
            driver={"url": url, "token": self.token, **driver}, **params,
        )

    def instance(self, *overlays: Path) -> Any:
        return instance(self.id, json.dumps(self.document).encode(), list(overlays), "tests")


def until_its_end(one: Instance) -> None:
    """Wait until it has powered itself off."""
    deadline = time.monotonic() + SECONDS
    while (reason := one.ended()) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert reason == "powered off", one.console()


def without(event: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("seq", "ago", *keys)}


def of_kind(recorder: Recorder, *kinds: str) -> list[dict[str, Any]]:
    return [without(event) for event in recorder.events() if event["event"] in kinds]


def has(report: dict[str, Any], **fields: Any) -> bool:
    """Whether it has an event with these fields."""
    return any(fields.items() <= event.items() for event in report["events"])


def assert_is_whole(recorder: Recorder) -> None:
    """Every event came, in order, and `now` is where the last one leaves the launch."""
    numbers = [event["seq"] for report in recorder.reports for event in report["events"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {(report["loitsut"], report["run"], report["dropped"]) for report in recorder.reports} == {(1, 1, 0)}
    assert all(one["age"] <= two["age"] for one, two in pairwise(recorder.reports))
    for report in recorder.reports:
        for key in ("phase", "state"):
            told = [event[key] for event in report["events"] if event["event"] == key]
            assert not told or report["now"][key] == told[-1], report


def assert_not_told(recorder: Recorder, launch: Launch) -> None:
    text = json.dumps(recorder.reports)
    assert not [secret for secret in launch.secrets if secret in text]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A certificate authority that nobody knows, and a driver's certificate of it with its key."""
    folder = tmp_path_factory.mktemp("authority")

    def certificate(name: str, *words: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        made = ["openssl", "req", "-x509", *key, "-subj", f"/CN={name}", "-out", f"{name}.pem", *words]
        subprocess.run(made, cwd=folder, check=True, capture_output=True)

    certificate("ca")
    certificate("driver", "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=IP:{HOST}",
                "-addext", "basicConstraints=critical,CA:FALSE")
    both = folder / "both.pem"
    both.write_text((folder / "driver.pem").read_text() + (folder / "driver.key").read_text())
    return (folder / "ca.pem").read_text(), both


def test_a_good_boot_is_told_and_orders_are_obeyed(baked: Path, authority: tuple[str, Path]) -> None:
    ca, certificate = authority
    orders = {
        "lease": {"id": "1", "life": "3h"}, "hold": {"id": "2", "for": "soon"}, "dance": {"id": "3"}, "nothing": None,
    }

    def answer(report: dict[str, Any]) -> Answer:
        if has(report, event="state", state="ready"):
            return 200, {"owner_seen": 5, "orders": orders, "later": "versions say more"}
        if has(report, event="order", order="lease"):
            return 200, {"orders": {"stop": {"id": "4", "reason": "nobody wants it"}}}
        # What is no JSON has no order in it; the report has arrived all the same.
        return 200, b"<html>welcome</html>" if report["now"]["state"] == "in-progress" else b""

    with Recorder(certificate) as recorder:
        recorder.answer = answer
        launch = Launch(KEY + MOTD + KEYFILE + WORKER, f"https://{HOST}:{recorder.port}/", LEASE, ca=ca)
        with launch.instance(baked) as one:
            until_its_end(one)
            console = one.console()
    assert set(recorder.requests) == {(f"/v1/launches/{launch.id}/events", f"Bearer {launch.token}")}
    assert_is_whole(recorder)
    assert_not_told(recorder, launch)
    assert not [secret for secret in launch.secrets if secret in console]

    phases = [event["phase"] for event in of_kind(recorder, "phase")]
    assert phases == ["metadata", "user-data", "profile", "apply", "launch", "watch"]
    assert of_kind(recorder, "profile") == [{"event": "profile", "profile": "p"}]
    steps = [(step["resource"], step["layer"], step["outcome"]) for step in of_kind(recorder, "step")]
    assert steps == [("file /srv/motd", "only", "changed"), ("file /srv/key", "only", "changed")]
    states = [(event["event"], event["state"]) for event in of_kind(recorder, "worker", "state")]
    assert [one for one in states if one[0] == "state"] == [("state", "ready"), ("state", "stopped")]
    assert [state for kind, state in states if kind == "worker"][:2] == ["starting", "ready"]
    told = [(event["order"], event["id"], event["outcome"]) for event in of_kind(recorder, "order")]
    assert sorted(told[:-1]) == [("dance", "3", "refused"), ("hold", "2", "refused"), ("lease", "1", "obeyed")]
    assert told[-1] == ("stop", "4", "obeyed")
    assert all(("why" in event) == (event["outcome"] == "refused") for event in of_kind(recorder, "order"))
    assert of_kind(recorder, "ending") == [
        {"event": "ending", "why": "the driver has ordered a stop: nobody wants it"},
    ]
    # The order takes the place of `idle` too.
    (left,) = [report["now"]["lease"] for report in recorder.reports if has(report, event="order", order="lease")]
    assert left.keys() == {"life"} and 2 * 3_600_000 < left["life"] <= 3 * 3_600_000
    assert recorder.reports[-1]["now"]["ending"] == "the driver has ordered a stop: nobody wants it"


PACKAGE = "[[resource]]\ntype = 'packages'\napt = ['libno-such-thing-dev']\n"
TELLS = KEY + """\
[[resource]]
type = "command"
script = '''
echo "the key is $LOITSUT_PARAM_KEY"
exit 7
'''
"""


@pytest.mark.parametrize(("layer", "resource", "code", "output", "order", "ending"), [
    pytest.param(PACKAGE, "packages", None, None, {"stop": {"id": "1", "reason": "seen"}},
                 "the driver has ordered a stop: seen", id="a package that does not exist; stopped while held"),
    pytest.param(TELLS, "command", 7, ["the key is ***"], {"hold": {"id": "1", "for": "1s"}},
                 "the lease is over: the failed boot was held for `hold`", id="a command that tells a secret; held less"),
])
def test_a_failure_is_told_by_all_four_ways(
    baked: Path, tmp_path: Path, layer: str, resource: str, code: int | None, output: list[str] | None,
    order: dict[str, Any], ending: str,
) -> None:
    # No network is needed to know that a package is in no list.
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list.d/debian.sources").touch()
    looked = threading.Event()

    def answer(report: dict[str, Any]) -> Answer:
        if not has(report, event="state", state="failed"):
            return 200, {}
        return (200, {"orders": order}) if looked.is_set() else (503, "not yet")

    with Recorder() as recorder:
        recorder.answer = answer
        launch = Launch(layer, f"http://{HOST}:{recorder.port}", LEASE | {"on_failure": {"hold": "1h"}})
        with launch.instance(baked, tmp_path) as one:
            one.wait_until_reachable()
            status = json.loads(one.run("loitsut", "status", "--wait", "--json", capture=True).stdout)
            journal = one.run("journalctl", "--output=json", "LOITSUT_STATE=failed", capture=True, check=True).stdout
            looked.set()
            until_its_end(one)
            console = one.console()

    (failed,) = [event for event in of_kind(recorder, "state") if event["state"] == "failed"]
    failure = failed["failure"]
    assert (failure["class"], failure["layer"], failure.get("exit_code")) == ("apply", "only", code)
    assert failure["resource"].startswith(resource)
    assert output is None or failure["output"] == output
    assert output or "libno-such-thing-dev" in failure["message"]
    assert status["failure"] == failure
    fields = json.loads(journal)
    assert (fields["LOITSUT_LAYER"], fields["LOITSUT_RESOURCE"]) == ("only", failure["resource"])
    assert fields.get("LOITSUT_EXIT_CODE") == (None if code is None else str(code))
    lines = [line.partition("LOITSUT|1|")[2].split("|") for line in console.splitlines() if "LOITSUT|1|" in line]
    (told,) = [line for line in lines if line[1] == "failed"]
    assert told[:6] == [launch.id, "failed", "apply", "only", failure["resource"], "" if code is None else str(code)]
    assert [line[2] for line in lines if line[1] == "output"] == failure.get("output", [])
    assert [launch.id, "ending", ending] in lines

    assert_is_whole(recorder)
    (report,) = [report for report in recorder.reports if has(report, event="state", state="failed")]
    assert 50 * 60_000 < report["now"]["lease"]["hold"] <= 60 * 60_000
    assert [without(event) for event in recorder.events()][-2:] == [
        {"event": "order", "order": next(iter(order)), "id": "1", "outcome": "obeyed"},
        {"event": "ending", "why": ending},
    ]
    assert_not_told(recorder, launch)
    for text in (json.dumps(status), journal, console):
        assert not [secret for secret in launch.secrets if secret in text]


def endless_headers(connection: BinaryIO) -> None:
    connection.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.write(b"x: " + b"y" * 0x10000 + b"\r\n")


def endless(connection: BinaryIO) -> None:
    connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def writes(text: bytes) -> Callable[[BinaryIO], None]:
    return lambda connection: connection.write(text) and None


FAULTS: list[Answer] = [
    (500, {}), (302, {}), (401, {}), (404, {}), writes(b""), writes(b"\0\xff SSH-2.0\r\n\r\n"),
    writes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), endless, endless_headers,
]


def test_a_driver_that_comes_late_and_answers_badly_misses_nothing(baked: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
    faults = iter(FAULTS)
    is_well = True

    def answer(_report: dict[str, Any]) -> Answer:
        nonlocal is_well
        if not is_well and (fault := next(faults, None)):
            is_well = True
            return fault
        is_well = False
        # Every good answer is followed by an event, so that there is something to send.
        return 200, {"orders": {"dance": {"id": str(len(recorder.reports))}}}

    launch = Launch(MOTD + WORKER, f"http://{HOST}:{port}", LEASE)
    with launch.instance(baked) as one:
        one.wait_until_reachable()
        assert json.loads(one.run("loitsut", "status", "--wait", "--json", capture=True).stdout)["state"] == "ready"
        with Recorder(port=port) as recorder:
            recorder.answer = answer
            recorder.wait_for_event("order", id=str(len(FAULTS)), seconds=SECONDS)
            memory = one.run("sh", "-c", "cat /proc/$(systemctl show -P MainPID loitsut)/status", capture=True).stdout
            recorder.answer = lambda _report: (200, {})
    assert next(faults, None) is None
    assert_is_whole(recorder)
    assert has(recorder.reports[0], event="state", state="ready")
    (peak,) = [int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmHWM:")]
    assert peak < MOST_KIB


# Says what it is asked, and goes on.
DEAF = """\
[worker]
type = "command"
command = ["/bin/sh", "-c", "trap 'echo asked to stop' TERM; echo at work; while :; do sleep 0.1; done"]
ready.log = "at work"
stop.grace = "1h"
"""
ASKED = "until journalctl --quiet --output=cat --unit=loitsut-worker.service | grep --quiet 'asked to stop'; do sleep 0.1; done"


def test_a_spot_notice_ends_the_worker_before_the_machine_is_taken(baked: Path) -> None:
    with Recorder() as recorder:
        launch = Launch(DEAF, f"http://{HOST}:{recorder.port}", LEASE)
        with launch.instance(baked) as one:
            recorder.wait_for_event("state", state="ready")
            notice = [DRIVER, "nspawn", "notice", one.launch]
            subprocess.run([*notice, "rebalance"], check=True)
            recorder.wait_for_event("notice", notice="rebalance")
            subprocess.run([*notice, "spot", "--in", "30s"], check=True)
            left = recorder.wait_for_event("notice", notice="interruption")["left"]
            assert one.run("timeout", "10", "sh", "-c", ASKED, capture=True).returncode == 0
            until_its_end(one)
    assert_is_whole(recorder)
    (ended,) = [event for event in of_kind(recorder, "worker") if event["state"] == "failed"]
    assert ended["result"] in ("timeout", "signal")
    at = {event["event"]: report["age"] - event["ago"] for report in recorder.reports for event in report["events"]}
    # Killed, not before 10 s are left (a second is lost to looking and rounding), and while there is still time.
    assert left - 11_000 < at["worker"] - at["notice"] < left
    assert of_kind(recorder, "state")[-1] == {"event": "state", "state": "stopped"}
