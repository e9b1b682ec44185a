"""What somebody sees who applies a profile at a terminal, and what is left of it there afterwards."""

import contextlib
import fcntl
import hashlib
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cell import SECONDS, Cell

BODY = b"x" * 4_000_000
ESCAPE = "\x1b"


@contextlib.contextmanager
def half_a_download() -> Iterator[tuple[str, threading.Event]]:
    """A server that sends the second half of a file when it is told to."""
    go_on = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(BODY[: len(BODY) // 2])
                go_on.wait(SECONDS)
                self.wfile.write(BODY[len(BODY) // 2 :])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/boost.tar.gz", go_on
    finally:
        go_on.set()
        server.shutdown()
        server.server_close()


class Terminal:
    """The agent at a terminal of its own."""

    def __init__(self, cell: Cell, columns: int, **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            ["chroot", cell.root, "/loitsut", "apply", "p"], env={"PATH": "/usr/bin:/usr/sbin", **environment},
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def read(self) -> bool:
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has it open any more
            return False
        self.seen += piece.decode()
        return bool(piece)

    def wait_for(self, pattern: str) -> str:
        while not (found := re.search(pattern, self.seen)):
            assert self.read(), f"no {pattern!r} in {self.seen!r}"
        return found[0]

    def finish(self) -> int:
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait(SECONDS)

    def left(self) -> str:
        """What stands there in the end: nothing is taken back but all below where the cursor goes up to."""
        screen = ""
        for part in re.split(rf"(\r(?:{ESCAPE}\[\d+A)?{ESCAPE}\[J)", self.seen):
            if back := re.fullmatch(rf"\r(?:{ESCAPE}\[(\d+)A)?{ESCAPE}\[J", part):
                lines = screen.split("\n")
                screen = "\n".join([*lines[: len(lines) - 1 - int(back[1] or 0)], ""])
            else:
                screen += re.sub(rf"{ESCAPE}\[\?7[lh]", "", part).replace("\r\n", "\n")
        return screen


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


def download(cell: Cell, url: str) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    cell.write("/etc/loitsut/profiles/p.toml", 'layers = ["only"]\n')
    cell.write(
        "/etc/loitsut/profiles/layers/only.toml",
        f'[[resource]]\ntype = "file"\npath = "/srv/x"\nurl = "{url}"\nsha256 = "{digest}"\n',
    )


DONE = "changed  file /srv/x (only): is missing\nprofile p: 1 steps, 1 changed\n"


def test_a_download_is_drawn_and_gone_when_it_is_done(cell: Cell) -> None:
    with half_a_download() as (url, go_on):
        download(cell, url)
        terminal = Terminal(cell, 100, TERM="xterm")
        terminal.wait_for(r"  boost\.tar\.gz  \[############------------\]  2\.0 of 4\.0 MB  \d+\.\d MB/s")
        terminal.wait_for(r"[-|/\\] file /srv/x  \d+ s")
        go_on.set()
        assert terminal.finish() == 0
    assert terminal.left() == DONE
    assert terminal.seen.count("\x1b[?7l") == terminal.seen.count("\x1b[?7h") > 0


def test_no_line_is_wider_than_a_narrow_terminal(cell: Cell) -> None:
    with half_a_download() as (url, go_on):
        download(cell, url)
        terminal = Terminal(cell, 24, TERM="xterm")
        drawn = terminal.wait_for(r"  boost\.ta  2\.0 of[^\r\x1b]*")
        go_on.set()
        assert terminal.finish() == 0
    assert len(drawn) < 24 and terminal.left() == DONE


@pytest.mark.parametrize("kind", [{"TERM": "dumb"}, {}])
def test_a_terminal_that_cannot_take_back_gets_plain_lines(cell: Cell, kind: dict[str, str]) -> None:
    with half_a_download() as (url, go_on):
        go_on.set()
        download(cell, url)
        terminal = Terminal(cell, 80, **kind)
        assert terminal.finish() == 0
    assert ESCAPE not in terminal.seen and terminal.left() == DONE


def test_an_interrupt_leaves_the_terminal_as_it_was(cell: Cell) -> None:
    with half_a_download() as (url, _):
        download(cell, url)
        terminal = Terminal(cell, 80, TERM="xterm")
        terminal.wait_for(r"2\.0 of 4\.0 MB")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 1
    assert terminal.left().startswith("profile p: step 1 of 1 failed, nothing changed before it\nerror: ")
    assert "boost" not in terminal.left().splitlines()[0]


@pytest.mark.parametrize(("wish", "coloured"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_colours_are_for_those_who_want_them(cell: Cell, wish: dict[str, str], coloured: bool) -> None:
    cell.write("/etc/loitsut/profiles/p.toml", "layrs = []\n")
    terminal = Terminal(cell, 80, TERM="xterm", **wish)
    assert terminal.finish() == 1
    assert "layrs" in terminal.seen and (ESCAPE in terminal.seen) is coloured
