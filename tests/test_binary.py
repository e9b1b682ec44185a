"""The shipped binary needs nothing around it: no libraries, no NSS, no files."""

import contextlib
import hashlib
import json
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cell import Cell, finish
from imds import Imds, always, answer
from lab.paths import DIST, REPO

BINARY = DIST / "loitsut"
LARGEST = 7_000_000

# An address of the loopback that nobody else has a name server on.
NAME_SERVER = "127.83.0.53"

STRACE = ("strace", "--follow-forks", "--trace=%file", "--output")


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


def user_data(layer: str) -> bytes:
    """A document that brings its own profile, of one layer."""
    files = {"p.toml": 'layers = ["only"]\n', "layers/only.toml": layer}
    return json.dumps({"loitsut": 1, "profile": "p", "bundle": {"files": files}}).encode()


A_FILE = user_data('[[resource]]\ntype = "file"\npath = "/srv/new/folder/greeting"\ncontent = "hello\\n"\n')


def opened(trace: Path) -> list[str]:
    """The paths that the traced program and its children asked for."""
    return re.findall(r'^\d+ +\w+\([^"]*"([^"]*)"', trace.read_text(), re.MULTILINE)


def assert_no_nss(trace: Path) -> None:
    names = opened(trace)
    assert "/loitsut" in names, "the trace does not show the agent"
    assert [name for name in names if "nsswitch" in name or "libnss" in name] == []


def test_it_is_one_small_static_pie() -> None:
    kind = subprocess.run(["file", "--brief", BINARY], capture_output=True, text=True, check=True).stdout
    assert "static-pie linked" in kind and "interpreter" not in kind
    assert BINARY.stat().st_size < LARGEST


def test_it_tells_its_version_where_nothing_else_is(cell: Cell) -> None:
    status, output = cell.run("--version")
    assert status == 0 and re.fullmatch(r"loitsut \d+\.\d+\.\d+\n", output)


def test_it_survives_a_wish_for_backtraces(cell: Cell) -> None:
    status, output = cell.run("lint", "/nowhere", environment={"RUST_BACKTRACE": "1"})
    assert (status, output) == (1, "error: there is no /nowhere\n")


def test_it_lints_where_nothing_else_is(cell: Cell) -> None:
    (cell.root / "profiles").mkdir()
    # The mount is of a namespace that ends with the command.
    bind = f"mount --bind {REPO}/profiles {cell.root}/profiles && exec \"$@\""
    status, output = cell.run("lint", "/profiles", under=("unshare", "--mount", "sh", "-ec", bind, "sh"))
    assert status == 0 and output.endswith("checked, no errors\n")


def test_it_boots_where_nothing_else_is(cell: Cell, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with Imds(A_FILE) as service:
        status, output = cell.run("boot", environment=service.environment, under=(*STRACE, str(trace)))
    assert status == 0, output
    assert (cell.root / "srv/new/folder/greeting").read_text() == "hello\n"
    assert cell.status()["state"] == "ready"
    assert_no_nss(trace)


def test_it_applies_where_nothing_else_is(cell: Cell, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    cell.write("/user-data", A_FILE)
    status, output = cell.run("apply", "--user-data", "/user-data", under=(*STRACE, str(trace)))
    assert status == 0, output
    status, output = cell.run("apply", "--user-data", "/user-data")
    assert (status, output) == (0, "profile p: 1 steps, nothing to change\n")
    assert_no_nss(trace)


@pytest.mark.parametrize("known_by", ["hosts", "name server"])
def test_it_looks_names_up_without_nss(cell: Cell, tmp_path: Path, known_by: str) -> None:
    trace = tmp_path / "trace"
    content = b"from afar\n"
    if known_by == "hosts":
        cell.write("/etc/hosts", "127.0.0.1 files.example.org\n")
    else:
        cell.write("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n")
    with Imds(None, always(answer(200, content))) as server, name_server() as asked:
        url, digest = f"http://files.example.org:{server.port}/f", hashlib.sha256(content).hexdigest()
        cell.write("/user-data", user_data(
            f'[[resource]]\ntype = "file"\npath = "/srv/f"\nurl = "{url}"\nsha256 = "{digest}"\n'
        ))
        status, output = cell.run("apply", "--user-data", "/user-data", under=(*STRACE, str(trace)))
    assert status == 0, output
    assert (cell.root / "srv/f").read_bytes() == content
    assert bool(asked) == (known_by == "name server")
    assert_no_nss(trace)


def test_without_a_name_server_it_waits_and_says_for_what(cell: Cell) -> None:
    cell.write("/user-data", user_data(
        '[[resource]]\ntype = "file"\npath = "/srv/f"\nurl = "http://files.example.org/f"\n'
        f'sha256 = "{"0" * 64}"\n'
    ))
    apply = cell.start("apply", "--user-data", "/user-data")
    assert apply.stdout is not None
    told = next(iter(apply.stdout))
    apply.terminate()
    status, output = finish(apply, 30)
    assert "waiting for" in told and "files.example.org" in told and "/etc/resolv.conf" in told
    assert status == 1 and "asked to stop" in output


@contextlib.contextmanager
def name_server() -> Iterator[list[bytes]]:
    """A name server that knows one address, 127.0.0.1, for every name; the questions that came."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((NAME_SERVER, 53))

        def serve() -> None:
            while True:
                question, sender = server.recvfrom(512)
                if not question:
                    return
                asked.append(question)
                server.sendto(_reply(question), sender)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            server.sendto(b"", (NAME_SERVER, 53))
            thread.join()


def _reply(question: bytes) -> bytes:
    """An answer of RFC 1035: the question again, and the address if one of IPv4 is asked for."""
    end = question.index(b"\0", 12) + 5
    is_a = question[end - 4:end - 2] == b"\0\1"
    header = question[:2] + struct.pack("!5H", 0x8180, 1, int(is_a), 0, 0)
    address = struct.pack("!3HIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if is_a else b""
    return header + question[12:end] + address
