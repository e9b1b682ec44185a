"""Another agent, where the user-data asks for one; and bundles that are fetched."""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from cell import Cell
from imds import Imds
from lab.paths import DIST
from test_fetch import answer, authority, serving

MACHINE = platform.machine()

# It takes the place of an agent, tells what it was called by, and ends.
OTHER = """
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
    printf("other agent: %s after %s\\n", count > 1 ? words[1] : "", getenv("LOITSUT_UPDATED_FROM"));
    return 7;
}
"""


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("other")
    subprocess.run(["cc", "-static", "-x", "c", "-", "-o", folder / "other"], input=OTHER, text=True, check=True)
    return (folder / "other").read_bytes()


def boot(cell: Cell, document: dict) -> tuple[int, str]:
    with Imds(json.dumps({"loitsut": 1, "profile": "p", **document}).encode()) as service:
        return cell.run("boot", environment=service.environment)


def asks_for(program: bytes, url: str, **others: object) -> dict:
    agent = {"version": "99.0.0", "url": {MACHINE: url}, "sha256": {MACHINE: hashlib.sha256(program).hexdigest()}}
    return {"agent": {**agent, **others}}


def test_another_agent_takes_the_place_of_this_one(cell: Cell, other: bytes) -> None:
    with serving(lambda connection, _, __: connection.sendall(answer(other))) as (port, heads):
        wanted = asks_for(other, f"http://127.0.0.1:{port}/agent")
        # A key that only the other one knows is no error of this one.
        for _ in range(2):
            status, told = boot(cell, {**wanted, "a key of the future": True})
            assert status == 7 and "other agent: boot after " in told
    assert len(heads) == 1


def test_an_agent_that_is_still_another_is_refused(cell: Cell) -> None:
    """The very same program again: what it says of itself is not what was asked for, so it must not fetch once more."""
    same = (DIST / "loitsut").read_bytes()
    with serving(lambda connection, _, __: connection.sendall(answer(same))) as (port, heads):
        status, told = boot(cell, asks_for(same, f"http://127.0.0.1:{port}/agent"))
    assert status == 1 and "was fetched as loitsut 99.0.0 says that it is" in told
    assert len(heads) == 1


def test_a_wrong_agent_is_never_run(cell: Cell, other: bytes) -> None:
    with serving(lambda connection, _, __: connection.sendall(answer(other + b"evil"))) as (port, _):
        status, told = boot(cell, asks_for(other, f"http://127.0.0.1:{port}/agent"))
    assert status == 1 and "loitsut 99.0.0 cannot be fetched" in told and "wanted is" in told
    assert "other agent:" not in told and not (cell.root / "var/lib/loitsut/agent").exists()


def test_apply_says_who_fetches_another_agent(cell: Cell, other: bytes) -> None:
    cell.write("/user-data", json.dumps({"loitsut": 1, "profile": "p", **asks_for(other, "http://127.0.0.1:1/agent")}))
    status, told = cell.run("apply", "--user-data", "/user-data")
    assert status == 1 and "asks for loitsut 99.0.0" in told and "`loitsut boot` fetches" in told


FILES = {
    "p.toml": b'layers = ["only"]\n',
    "layers/only.toml": b'[[resource]]\ntype = "file"\npath = "/srv/data"\nsource = "data.bin"\n',
    "data.bin": bytes(range(256)),
}


def packed(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(held.getvalue(), mtime=0)


def digest(files: dict[str, bytes]) -> str:
    lines = sorted(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def apply(cell: Cell, document: dict, **options: object) -> tuple[int, str]:
    cell.write("/user-data", json.dumps({"loitsut": 1, "profile": "p", **document}))
    return cell.run("apply", "--user-data", "/user-data", **options)  # type: ignore[arg-type]


def test_a_bundle_is_fetched_and_kept(cell: Cell) -> None:
    with serving(lambda connection, _, __: connection.sendall(answer(packed(FILES)))) as (port, heads):
        wanted = {"bundle": {"url": f"http://127.0.0.1:{port}/b?signature=hunter2", "sha256": digest(FILES)}}
        status, told = apply(cell, wanted)
        assert status == 0, told
        assert (cell.root / "srv/data").read_bytes() == FILES["data.bin"]
    # The server is gone, and the agent starts again.
    assert apply(cell, wanted) == (0, "profile p: 1 steps, nothing to change\n")
    assert len(heads) == 1 and "authorization" not in heads[0].lower()


TOKEN = "t0ken-t0ken-t0ken"


def test_the_driver_and_nobody_else_sees_its_token(cell: Cell, tmp_path: Path) -> None:
    """By an authority that only the driver's key names: the token goes to that origin, and is not taken elsewhere."""
    tls = authority(tmp_path, timedelta(days=-1), timedelta(days=1))
    ca = (tmp_path / "ca.pem").read_text()
    with serving(lambda connection, _, __: connection.sendall(answer(packed(FILES)))) as (elsewhere, heads), \
            serving(lambda connection, head, _: connection.sendall(
                answer(b"", f"Location: http://127.0.0.1:{elsewhere}/", status=302)
                if "/moved" in head else answer(packed(FILES))), tls) as (port, asked):
        driver = {"url": f"https://localhost:{port}", "token": TOKEN, "ca": ca}

        def fetch(url: str) -> tuple[int, str]:
            launch = {"id": "1", "name": "n", "pool": "tests"}
            return apply(cell, {"bundle": {"url": url, "sha256": digest(FILES)}, "driver": driver, "launch": launch})

        status, told = fetch(f"https://localhost:{port}/moved")
        assert status == 1 and "302" in told and not heads
        status, told = fetch(f"http://127.0.0.1:{elsewhere}/b")
        assert status == 0 and TOKEN not in heads[0], told
        (cell.root / "var/cache/loitsut" / f"bundle-{digest(FILES)}.tar.gz").unlink()
        status, told = fetch(f"https://localhost:{port}/b")
        assert status == 0 and f"Bearer {TOKEN}" in asked[-1], told
        assert TOKEN not in told


REFUSED = {
    "another one": ({**FILES, "data.bin": b"evil"}, ["its digest is", "another bundle"]),
    "a name outside": ({**FILES, "../x": b"evil"}, ["`../x`", ".."]),
    "too large": ({**FILES, "x": bytes(9 << 20)}, ["`x`", "8388608 bytes"]),
    "a language file that is not text": ({**FILES, "layers/only.toml": b"\xff"}, ["layers/only.toml", "UTF-8"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bundles_that_do_not_fit_are_refused(cell: Cell, name: str) -> None:
    files, words = REFUSED[name]
    right = digest(FILES if name == "another one" else files)
    with serving(lambda connection, _, __: connection.sendall(answer(packed(files)))) as (port, _):
        status, told = apply(cell, {"bundle": {"url": f"http://127.0.0.1:{port}/b", "sha256": right}})
    assert status == 1 and not (cell.root / "srv").exists()
    for word in words:
        assert word in told
