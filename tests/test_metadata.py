"""The binary against metadata services that misbehave: what may pass is waited for, what cannot pass ends at once."""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cell import Cell, finish
from imds import PROPER, Answer, Imds, always, answer, at_first
from lab.paths import DIST

# Becomes ready without touching anything.
USER_DATA = json.dumps({
    "loitsut": 1, "launch": {"id": "l1", "name": "cell", "pool": "cells"}, "profile": "p",
    "bundle": {"files": {"p.toml": 'layers = ["empty"]\n', "layers/empty.toml": ""}},
}).encode()

NORMAL = ["PUT /latest/api/token", "GET /latest/user-data", "GET /latest/dynamic/instance-identity/document"]

# All of the agent's patience with a metadata service, and some more for this machine.
FOR_EVER = 120 + 30


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


def test_a_normal_start_is_three_requests(cell: Cell) -> None:
    with Imds(USER_DATA) as service:
        status, output = cell.run("boot", environment=service.environment)
    assert (status, service.requests) == (0, NORMAL), output
    assert (cell.status()["state"], cell.status()["launch"]) == ("ready", "l1")


def test_no_user_data_is_no_failure(cell: Cell) -> None:
    with Imds(None) as service:
        status, output = cell.run("boot", environment=service.environment)
    assert status == 0, output
    assert cell.status()["state"] == "nothing"


def test_a_proxy_is_not_asked(cell: Cell) -> None:
    with Imds(USER_DATA) as service, Imds(None, always(answer(502))) as proxy:
        names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        status, output = cell.run("boot", environment=service.environment | dict.fromkeys(names, proxy.url))
    assert status == 0, output
    assert (service.requests, proxy.requests) == (NORMAL, [])


def token_expired(service: Imds, line: str) -> bytes | None:
    """The first token is refused once it is used, as after a long pause."""
    return answer(401) if service.requests.count("PUT /latest/api/token") == 1 and line.startswith("GET") else PROPER


@pytest.mark.parametrize(("fault", "cause"), [
    pytest.param(at_first(2, answer(401)), "401", id="unauthorized"),
    pytest.param(at_first(2, answer(429)), "429", id="throttled"),
    pytest.param(at_first(2, answer(503)), "503", id="unavailable"),
    pytest.param(at_first(1, None), "no complete answer", id="hangs"),
    pytest.param(at_first(1, b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nAQ"), "api/token", id="cut short"),
    pytest.param(token_expired, "401", id="token expired"),
])
def test_what_fails_at_first_is_asked_again(cell: Cell, fault: Answer, cause: str) -> None:
    with Imds(USER_DATA, fault) as service:
        status, output = cell.run("boot", environment=service.environment)
    assert status == 0, output
    assert cell.status()["state"] == "ready"
    assert "waiting for the metadata service" in output and cause in output


def test_a_service_that_comes_late_is_waited_for(cell: Cell) -> None:
    with Imds(USER_DATA, refuses=True) as service:
        boot = cell.start("boot", environment=service.environment)
        assert boot.stdout is not None
        told = next(line for line in boot.stdout if "waiting for the metadata service" in line)
        service.listen()
        status, output = finish(boot, 30)
    assert "refused" in told
    assert status == 0, output


@pytest.mark.parametrize(("fault", "words"), [
    pytest.param(always(answer(403)), ["switched off", "--http-endpoint enabled"], id="forbidden"),
    pytest.param(always(answer(404), "PUT"), ["gives no token", "404", "agent.toml"], id="no token"),
    pytest.param(always(answer(200), "PUT"), ["is not a token but empty"], id="empty token"),
    pytest.param(always(answer(200, "<html>log in, please</html>"), "PUT"), ["is not a token"], id="a captive portal"),
    pytest.param(always(answer(403), "GET /latest/user"), ["switched off", "user-data"], id="user-data forbidden"),
    pytest.param(always(answer(200, "{}"), "GET /latest/dyn"), ["who this instance is"], id="no instance id"),
    pytest.param(
        lambda _, line: b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        ["302"], id="redirect",
    ),
])
def test_what_cannot_pass_is_final_at_once(cell: Cell, fault: Answer, words: list[str]) -> None:
    with Imds(USER_DATA, fault) as service:
        status, output = cell.run("boot", environment=service.environment)
        assert len(service.requests) == len(set(service.requests)), "something was asked again"
    failure = cell.status()["failure"]
    assert (status, failure["class"]) == (1, "metadata"), output
    for word in words:
        assert word in failure["message"]


def openstack(_: Imds, line: str) -> bytes:
    """No tokens, no identity document, and everything without either."""
    known = {"user-data": USER_DATA, "instance-id": "i-0000001a", "instance-type": "m1.small"}
    path = line.rsplit("/", 1)[-1]
    return answer(200, known[path]) if line.startswith("GET") and path in known else answer(404)


def test_version_1_is_asked_where_the_image_permits_it(cell: Cell) -> None:
    cell.write("/etc/loitsut/agent.toml", "metadata_v1 = true\n")
    with Imds(USER_DATA, openstack) as service:
        status, output = cell.run("boot", environment=service.environment)
    assert status == 0, output
    assert cell.status()["state"] == "ready"
    assert "version 1" in output
    assert service.requests[:2] == ["PUT /latest/api/token", "GET /latest/user-data"]


def test_the_permit_does_not_weaken_version_2(cell: Cell) -> None:
    cell.write("/etc/loitsut/agent.toml", "metadata_v1 = true\n")
    with Imds(USER_DATA) as service:
        status, output = cell.run("boot", environment=service.environment)
    assert (status, service.requests) == (0, NORMAL), output


@pytest.mark.parametrize("maker", ["QEMU", "OpenStack Foundation", "Not Amazon EC2"])
def test_a_stranger_is_not_even_asked(cell: Cell, tmp_path: Path, maker: str) -> None:
    cell.write("/sys/class/dmi/id/sys_vendor", f"{maker}\n")
    cell.write("/sys/class/dmi/id/product_uuid", "EC2F58AF-2DAD-C57E-88C0-A81CB6084290\n")
    trace = tmp_path / "trace"
    status, output = cell.run("boot", under=["strace", "-f", "-e", "trace=%network", "-o", str(trace)])
    assert status == 1 and "does not look like EC2" in output
    assert "exited with 1" in trace.read_text() and "AF_INET" not in trace.read_text()


@pytest.fixture
def ipv6_only(tmp_path: Path) -> Iterator[list[str]]:
    """What runs a command where there is IPv6 only, and EC2's metadata service on it."""
    name = f"ipv6-only-{secrets.token_hex(4)}"
    inside = ["ip", "netns", "exec", name]
    file = tmp_path / "user-data"
    file.write_bytes(USER_DATA)
    with ExitStack() as stack:
        subprocess.run(["ip", "netns", "add", name], check=True)
        stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "-n", name, "address", "add", "fd00:ec2::254/128", "dev", "lo", "nodad"], check=True)
        serve = ["nspawn", "metadata", "--listen=[fd00:ec2::254]:80", f"--user-data={file}"]
        service = stack.enter_context(
            subprocess.Popen([*inside, str(DIST / "loitsut-driver"), *serve], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(service.kill)
        assert service.stdout is not None and "fd00:ec2::254" in service.stdout.readline()
        yield inside


def test_a_machine_may_have_ipv6_only(cell: Cell, ipv6_only: list[str]) -> None:
    cell.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
    status, output = cell.run("boot", under=ipv6_only)
    assert status == 0, output
    assert (cell.status()["state"], cell.status()["launch"]) == ("ready", "l1")


NEVER = {
    "refuses": (lambda: Imds(USER_DATA, refuses=True), "refused"),
    "hangs": (lambda: Imds(USER_DATA, always(None)), "hop limit"),
    "unauthorized": (lambda: Imds(USER_DATA, always(answer(401))), "401"),
    "unavailable": (lambda: Imds(USER_DATA, always(answer(503), "GET")), "503"),
}


@pytest.fixture(scope="module")
def given_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[int, str, dict]]]:
    """The ends of boots whose service never comes to its senses; they wait at the same time."""
    with ExitStack() as stack:
        boots = {}
        for name, (make, _) in NEVER.items():
            cell, service = Cell(tmp_path_factory.mktemp("cell")), stack.enter_context(make())
            boots[name] = (cell, cell.start("boot", environment=service.environment))
            stack.callback(boots[name][1].kill)

        def end(name: str) -> tuple[int, str, dict]:
            cell, boot = boots[name]
            return *finish(boot, FOR_EVER), cell.status()
        yield end


@pytest.mark.parametrize("name", NEVER)
def test_what_never_passes_is_given_up_and_told(given_up: Callable[[str], tuple[int, str, dict]], name: str) -> None:
    status, output, left = given_up(name)
    assert (status, left["state"], left["failure"]["class"]) == (1, "failed", "metadata"), output
    message = left["failure"]["message"]
    assert "could not ask the metadata service" in message and "given up after" in message
    assert NEVER[name][1] in message
