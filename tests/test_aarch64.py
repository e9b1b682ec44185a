"""The agent for aarch64, run by emulation: one static file as well, that applies and that speaks TLS."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cell import Cell
from lab.paths import DIST, REPO
from test_fetch import APPLY, CONTENT, DIGEST, authority, files, proper, serving

BINARY = DIST / "aarch64/loitsut"


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell", BINARY, emulator=Path("/usr/bin/qemu-aarch64-static"))


def test_it_is_one_static_pie() -> None:
    kind = subprocess.run(["file", "--brief", BINARY], capture_output=True, text=True, check=True).stdout
    assert "ARM aarch64" in kind and "static-pie linked" in kind and "interpreter" not in kind


def test_it_survives_a_wish_for_backtraces(cell: Cell) -> None:
    status, output = cell.run("lint", "/nowhere", environment={"RUST_BACKTRACE": "1"})
    assert (status, output) == (1, "error: there is no /nowhere\n")


def test_it_reads_what_it_is_given(cell: Cell) -> None:
    shutil.copytree(REPO / "profiles", cell.root / "profiles")
    cell.write("/user-data", '{"loitsut": 1, "profile": "p"}')
    assert cell.run("--version")[1].startswith("loitsut ")
    assert cell.run("lint", "/profiles")[1].endswith("checked, no errors\n")
    assert json.loads(cell.run("userdata", "decode", "/user-data")[1])["profile"] == "p"


def test_it_plans_and_applies_and_has_nothing_to_change_then(cell: Cell) -> None:
    cell.write("/profiles/p.toml", 'layers = ["only"]\n')
    cell.write("/profiles/layers/only.toml", '[[resource]]\ntype = "file"\npath = "/srv/f"\ncontent = "{{ arch }}\\n"\n')
    status, output = cell.run("plan", "p", "--profiles", "/profiles")
    assert status == 2 and "+aarch64\n" in output, output
    status, output = cell.run(*APPLY)
    assert status == 0 and (cell.root / "srv/f").read_text() == "aarch64\n", output
    assert "nothing to change" in cell.run(*APPLY)[1]


def test_it_fetches_by_tls(cell: Cell, tmp_path: Path) -> None:
    tls = authority(tmp_path, timedelta(days=-1), timedelta(days=9))
    cell.write("/ca.pem", (tmp_path / "ca.pem").read_bytes())
    with serving(lambda connection, head, _: connection.sendall(proper(head)), tls) as (port, _):
        files(cell, (f"https://localhost:{port}/f", DIGEST))
        status, output = cell.run(*APPLY, environment={"SSL_CERT_FILE": "/ca.pem"})
    assert status == 0 and (cell.root / "srv/0").read_bytes() == CONTENT, output
