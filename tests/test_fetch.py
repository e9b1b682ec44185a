"""Downloads from servers that fail as servers do, by the agent alone in an empty root."""

import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cell import Cell, finish

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ETAG = 'ETag: "one"'

# What a connection gets: the head of its request, and how many came before.
Serve = Callable[[socket.socket, str, int], None]


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


def files(cell: Cell, *wanted: tuple[str, str]) -> None:
    """A profile of files, each to be downloaded from a URL and to have a digest."""
    layer = "".join(
        f'[[resource]]\ntype = "file"\npath = "/srv/{number}"\nurl = "{url}"\nsha256 = "{digest}"\n'
        for number, (url, digest) in enumerate(wanted)
    )
    cell.write("/profiles/p.toml", 'layers = ["only"]\n')
    cell.write("/profiles/layers/only.toml", layer)


APPLY = ("apply", "p", "--profiles", "/profiles")


def answer(body: bytes, *headers: str, status: int = 200, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {said}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def proper(head: str) -> bytes:
    """What a decent server answers, ranges included."""
    for line in head.splitlines():
        if line.lower().startswith("range: bytes="):
            start = int(line.partition("=")[2].rstrip("-"))
            said = f"Content-Range: bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            return answer(CONTENT[start:], said, ETAG, status=206)
    return answer(CONTENT, ETAG)


@contextlib.contextmanager
def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server, its port, and the heads of the requests that came."""
    heads: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(4096)
                    if not more:
                        return
                    head += more
                heads.append(head.decode())
                serve(connection, heads[-1], len(heads) - 1)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
        threading.Thread(target=run, daemon=True).start()
        try:
            yield listener.getsockname()[1], heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_a_stall_is_continued(cell: Cell) -> None:
    """99 % come, then nothing: the agent waits 30 s, and asks for the rest on another connection."""
    stalled = threading.Event()

    def serve(connection: socket.socket, head: str, number: int) -> None:
        if number > 0:
            return connection.sendall(proper(head))
        connection.sendall(answer(CONTENT[:-1000], ETAG, length=len(CONTENT)))
        stalled.wait()

    with serving(serve) as (port, heads):
        files(cell, (f"http://127.0.0.1:{port}/f", DIGEST))
        status, told = cell.run(*APPLY, seconds=90)
        stalled.set()
    assert status == 0, told
    assert (cell.root / "srv/0").read_bytes() == CONTENT
    assert f"range: bytes={len(CONTENT) - 1000}-" in heads[1].lower()


def test_the_next_agent_continues(cell: Cell) -> None:
    """Killed in the middle of a download; the next one asks for the rest only."""
    half, killed = threading.Event(), threading.Event()

    def serve(connection: socket.socket, head: str, number: int) -> None:
        if number > 0:
            return connection.sendall(proper(head))
        connection.sendall(answer(CONTENT[:700_000], ETAG, length=len(CONTENT)))
        half.set()
        killed.wait()

    with serving(serve) as (port, heads):
        files(cell, (f"http://127.0.0.1:{port}/f", DIGEST))
        agent = cell.start(*APPLY)
        assert half.wait(30)
        part = cell.root / f"var/cache/loitsut/{DIGEST}.part"
        while agent.poll() is None and not (part.exists() and part.stat().st_size):
            pass
        agent.kill()
        finish(agent, 30)
        killed.set()
        status, told = cell.run(*APPLY)
    assert status == 0, told
    assert (cell.root / "srv/0").read_bytes() == CONTENT
    assert "range: bytes=" in heads[1].lower() and 'if-range: "one"' in heads[1].lower()
    assert sorted(path.name for path in part.parent.iterdir()) == [DIGEST]


def test_all_downloads_start_at_once_and_each_once(cell: Cell) -> None:
    """Nobody is answered before all have asked: one after the other, this would never end."""
    wanted = [bytes([number]) * 999 for number in range(4)]
    together = threading.Barrier(len(wanted))

    def serve(connection: socket.socket, head: str, _: int) -> None:
        together.wait(30)
        connection.sendall(answer(wanted[int(head.split()[1][1:])]))

    with serving(serve) as (port, heads):
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(len(wanted))]
        digests = [hashlib.sha256(body).hexdigest() for body in wanted]
        # The first one is wanted twice, and one is there already.
        files(cell, *zip(urls, digests), (urls[0], digests[0]), ("http://127.0.0.1:1/there", DIGEST))
        cell.write("/srv/5", CONTENT)
        status, told = cell.run(*APPLY)
    assert status == 0, told
    assert len(heads) == len(wanted)
    assert (cell.root / "srv/4").read_bytes() == wanted[0]


@pytest.mark.parametrize("seconds", [301, 2**63, 2**64 - 1])
def test_a_server_that_wants_to_be_left_alone_for_too_long(cell: Cell, seconds: int) -> None:
    busy = answer(b"", f"Retry-After: {seconds}", status=503)
    with serving(lambda connection, _head, _: connection.sendall(busy)) as (port, heads):
        files(cell, (f"http://127.0.0.1:{port}/x", DIGEST))
        status, told = cell.run(*APPLY)
    assert status == 1 and "answered 503" in told and "panicked" not in told, told
    assert len(heads) == 1


def test_a_failure_is_of_its_own_resource(cell: Cell) -> None:
    def serve(connection: socket.socket, head: str, _: int) -> None:
        connection.sendall(answer(b"gone", status=404) if "/bad" in head else proper(head))

    with serving(serve) as (port, _):
        url = f"http://127.0.0.1:{port}"
        files(cell, (f"{url}/good", DIGEST), (f"{url}/bad?token=hunter2", "0" * 64), (f"{url}/never", "1" * 64))
        status, told = cell.run(*APPLY)
    assert status == 1 and "file /srv/1" in told and "/bad?...: answered 404" in told
    assert "hunter2" not in told
    assert (cell.root / "srv/0").exists() and not (cell.root / "srv/2").exists()


def test_a_full_disk_is_told(cell: Cell) -> None:
    (cell.root / "var/cache/loitsut").mkdir(parents=True)
    # The mount is of a namespace that ends with the command.
    small = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$@"; status=$?; ls "$0"; exit $status'
    for headers in ["Content-Length: 1048576", "Connection: close"]:
        def serve(connection: socket.socket, _head: str, _number: int, headers: str = headers) -> None:
            connection.sendall(f"HTTP/1.1 200 x\r\n{headers}\r\n\r\n".encode() + CONTENT)

        with serving(serve) as (port, heads):
            files(cell, (f"http://127.0.0.1:{port}/f", DIGEST))
            status, told = cell.run(*APPLY, under=(
                "unshare", "--mount", "sh", "-uc", small, f"{cell.root}/var/cache/loitsut",
            ))
        assert status == 1 and "cannot write /var/cache/loitsut" in told
        assert ("room for" in told) == ("Length" in headers) and ("No space" in told) == ("Length" not in headers)
        assert ".part\n" not in told.splitlines(keepends=True)[-1] and len(heads) == 1


def test_a_name_that_is_not_known_at_first(cell: Cell) -> None:
    with serving(lambda connection, head, _: connection.sendall(proper(head))) as (port, _):
        files(cell, (f"http://files.example.org:{port}/f", DIGEST))
        agent = cell.start(*APPLY)
        assert agent.stdout is not None
        told = next(iter(agent.stdout))
        cell.write("/etc/hosts", "127.0.0.1 files.example.org\n")
        status, rest = finish(agent, 60)
    assert "waiting for a download" in told and "cannot look up files.example.org" in told
    assert status == 0, rest


CLOCKS = {
    "good": (timedelta(days=-1), timedelta(days=1), None),
    "expired": (timedelta(days=-9), timedelta(days=-1), ["expired", "clock"]),
    "of nobody known": (timedelta(days=-1), timedelta(days=1), ["certificate is refused", "UnknownIssuer"]),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_certificates_are_verified(cell: Cell, tmp_path: Path, name: str) -> None:
    begins, ends, words = CLOCKS[name]
    tls = authority(tmp_path, begins, ends)
    trusted = [] if name == "of nobody known" else ["/ca.pem"]
    cell.write("/ca.pem", (tmp_path / "ca.pem").read_bytes())
    with serving(lambda connection, head, _: connection.sendall(proper(head)), tls) as (port, heads):
        files(cell, (f"https://localhost:{port}/f", DIGEST))
        status, told = cell.run(*APPLY, environment={"SSL_CERT_FILE": path for path in trusted})
    assert (status == 0) == (words is None), told
    assert bool(heads) == (words is None)
    for word in words or []:
        assert word in told


def test_a_clock_in_the_past_is_waited_for(cell: Cell, tmp_path: Path) -> None:
    tls = authority(tmp_path, timedelta(days=1), timedelta(days=9))
    cell.write("/ca.pem", (tmp_path / "ca.pem").read_bytes())
    with serving(lambda connection, head, _: connection.sendall(proper(head)), tls) as (port, _):
        files(cell, (f"https://localhost:{port}/f", DIGEST))
        agent = cell.start(*APPLY, environment={"SSL_CERT_FILE": "/ca.pem"})
        assert agent.stdout is not None
        told = next(iter(agent.stdout))
        agent.terminate()
        status, _ = finish(agent, 30)
    assert status == 1 and "is this machine's clock right?" in told


def authority(folder: Path, begins: timedelta, ends: timedelta) -> ssl.SSLContext:
    """A server for localhost whose certificate an authority of its own made, for a time; that one is ca.pem."""
    now = datetime.now(timezone.utc)
    moment = [f"{now + when:%Y%m%d%H%M%SZ}" for when in (begins, ends)]

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-subj", "/CN=test", "-days", "9")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out",
            "request.pem", "-subj", "/CN=localhost")
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = one\n[one]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = any\nx509_extensions = leaf\n[any]\ncommonName = supplied\n[leaf]\nsubjectAltName = DNS:localhost\n"
    )
    openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "request.pem", "-out",
            "leaf.pem", "-startdate", moment[0], "-enddate", moment[1], "-notext")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem", folder / "key.pem")
    return context


def test_what_nobody_asked_for_in_a_month_goes(cell: Cell) -> None:
    """Before something new comes; what others keep in the same place stays."""
    month = 31 * 24 * 3600
    old, used = "a" * 64, hashlib.sha256(b"used").hexdigest()
    ages = {old: month, f"{old}.part": month, f"bundle-{old}.tar.gz": month, "b" * 64: 60, used: month, "base": month}
    for name, age in ages.items():
        cell.write(f"/var/cache/loitsut/{name}", b"used")
        then = time.time() - age
        os.utime(cell.root / "var/cache/loitsut" / name, (then, then))
    with serving(lambda connection, head, _: connection.sendall(proper(head))) as (port, _heads):
        url = f"http://127.0.0.1:{port}/x"
        files(cell, (url, used))
        assert cell.run(*APPLY)[0] == 0
        files(cell, (url, used), (url, DIGEST))
        status, told = cell.run(*APPLY)
    assert status == 0, told
    left = {path.name for path in (cell.root / "var/cache/loitsut").iterdir()}
    assert left == {"b" * 64, used, "base", DIGEST}


def test_plan_downloads_nothing(cell: Cell) -> None:
    files(cell, ("http://127.0.0.1:1/nobody", DIGEST))
    status, told = cell.run("plan", "p", "--profiles", "/profiles", "--json")
    assert status == 2 and json.loads(told)["steps"][0]["outcome"] == "differs"
    assert not (cell.root / "var").exists()
