"""Archives of every kind, extracted where nothing else is; and those that are refused, with nothing touched."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cell import Cell
from hostile.archives import ARCHIVES, entry, header, pax, zstd

INTO = "srv/into"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """One for all archives that leave nothing behind."""
    cell = Cell(tmp_path_factory.mktemp("cell"))
    cell.write("/srv/outside/mine", "precious\n")
    return cell


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path / "cell")


def apply(cell: Cell, archive: bytes | None, keys: str = "", **options: object) -> tuple[int, str]:
    """Apply a profile of one archive, which is bundled under a name that says nothing."""
    if archive is not None:
        cell.write("/profiles/packed.bin", archive)
    cell.write("/profiles/p.toml", 'layers = ["only"]\n')
    cell.write("/profiles/layers/only.toml", (
        f'[[resource]]\ntype = "archive"\nsource = "packed.bin"\ninto = "/{INTO}"\n{keys}'
    ))
    return cell.run("apply", "p", "--profiles", "/profiles", **options)  # type: ignore[arg-type]


def listing(cell: Cell) -> dict[str, tuple]:
    """Everything in there, and what it is; of files also their content."""
    found = {}
    for path in sorted(cell.root.rglob("*")):
        if path.is_relative_to(cell.root / "profiles"):
            continue
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).digest() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(cell.root))] = (stat.st_mode, stat.st_uid, stat.st_nlink, content)
    return found


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_archives_are_refused(shared: Cell, name: str) -> None:
    make, words = ARCHIVES[name]
    shared.run("apply", "--help")
    (shared.root / "run/loitsut").mkdir(parents=True, exist_ok=True)
    (shared.root / "run/loitsut/lock").touch()
    before = listing(shared)
    status, told = apply(shared, make())
    assert status == 1, told
    assert f"archive /{INTO}" in told and "nothing of it is in place" in told
    for word in words:
        assert word in told, told
    assert "\x1b" not in told and "panicked" not in told
    assert listing(shared) == before


def tar(**members: bytes) -> bytes:
    """A tar as GNU tar makes it, with a link of each kind."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"top/bin/{name}")
            info.size, info.mode, info.mtime = len(content), 0o6777, 1_600_000_000
            archive.addfile(info, io.BytesIO(content))
        for kind, name, target in [
            (tarfile.LNKTYPE, "top/again", f"top/bin/{name}"), (tarfile.SYMTYPE, "top/link", "/elsewhere"),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return held.getvalue()


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda data: data,
    "gz": gzip.compress,
    "gz in two members": lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    "xz": lzma.compress,
    "xz in two streams": lambda data: lzma.compress(data[:999]) + lzma.compress(data[999:]),
    "bz2": bz2.compress,
    "zst": zstd,
    "zst in two frames and one to skip": lambda data: (
        zstd(data[:999]) + b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstd(data[999:])
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tar_is_extracted(cell: Cell, kind: str) -> None:
    content = bytes(range(256)) * 500
    status, told = apply(cell, KINDS[kind](tar(tool=content)), "strip = 1\n")
    assert status == 0, told
    tool = cell.root / INTO / "bin/tool"
    assert tool.read_bytes() == content
    # Neither setuid nor for others to write.
    assert (tool.stat().st_mode & 0o7777, int(tool.stat().st_mtime)) == (0o755, 1_600_000_000)
    assert tool.samefile(cell.root / INTO / "again")
    assert os.readlink(cell.root / INTO / "link") == "/elsewhere"
    again = apply(cell, None, "strip = 1\n")
    assert again == (0, "profile p: 1 steps, nothing to change\n")


@pytest.mark.parametrize("how", ["stored", "deflated", "with descriptors", "zip64"])
def test_every_zip_is_extracted(cell: Cell, how: str) -> None:
    held = io.BytesIO()
    method = zipfile.ZIP_STORED if how == "stored" else zipfile.ZIP_DEFLATED
    stream = _Pipe(held) if how == "with descriptors" else held
    with zipfile.ZipFile(stream, "w", method) as archive:
        info = zipfile.ZipInfo("bin/tool", date_time=(2020, 9, 13, 12, 26, 40))
        info.external_attr, info.compress_type = 0o100755 << 16, method
        with archive.open(info, "w", force_zip64=how == "zip64") as member:
            member.write(b"tool" * 999)
        archive.writestr("empty/", b"")
    status, told = apply(cell, held.getvalue())
    assert status == 0, told
    tool = cell.root / INTO / "bin/tool"
    assert (tool.read_bytes(), tool.stat().st_mode & 0o777) == (b"tool" * 999, 0o755)
    assert int(tool.stat().st_mtime) == 1_600_000_000
    assert (cell.root / INTO / "empty").is_dir()


class _Pipe(io.RawIOBase):
    """Cannot be rewound, so sizes have to follow the data."""

    def __init__(self, held: io.BytesIO) -> None:
        self.held = held

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self.held.write(data)


def test_what_changed_is_extracted_anew(cell: Cell) -> None:
    archive = tar(tool=b"tool\n", other=b"other\n")
    assert apply(cell, archive, "strip = 1\n")[0] == 0
    for harm, words in [
        (lambda: (cell.root / INTO / "bin/tool").unlink(), "lacks bin/tool"),
        (lambda: (cell.root / INTO / "bin/tool").write_text("evil\n"), "bin/tool was changed"),
        (lambda: (cell.root / INTO / "link").unlink(), "lacks link"),
    ]:
        harm()
        status, told = apply(cell, archive, "strip = 1\n")
        assert status == 0 and words in told, told
        assert (cell.root / INTO / "bin/tool").read_text() == "tool\n"
    status, told = apply(cell, tar(newer=b"newer\n"), "strip = 1\n")
    assert status == 0 and "of another archive" in told
    assert os.listdir(cell.root / INTO / "bin") == ["newer"]


def test_what_is_not_ours_is_left_alone(cell: Cell) -> None:
    cell.write(f"/{INTO}/mine", "precious\n")
    status, told = apply(cell, tar(tool=b"tool\n"))
    assert status == 1 and "was not extracted by loitsut" in told
    assert os.listdir(cell.root / INTO) == ["mine"]


def test_everything_belongs_to_its_owner(cell: Cell) -> None:
    cell.write("/etc/passwd", "builder:x:1234:4321::/:/bin/sh\n")
    cell.write("/etc/group", "others:x:5678:\n")
    for owner, ids in [("builder", (1234, 4321)), ("builder:others", (1234, 5678))]:
        status, told = apply(cell, tar(tool=b"tool\n"), f'strip = 1\nowner = "{owner}"\n')
        assert status == 0, told
        for path in ["", "bin", "bin/tool", "link"]:
            stat = (cell.root / INTO / path).lstat()
            assert (stat.st_uid, stat.st_gid) == ids, path
    status, told = apply(cell, tar(tool=b"tool\n"), 'owner = "nobody-here"\n')
    assert status == 1 and "nobody-here" in told


def test_strip_that_leaves_nothing_is_told(cell: Cell) -> None:
    status, told = apply(cell, tar(tool=b"tool\n"), "strip = 9\n")
    assert status == 1 and "`strip`" in told
    assert not (cell.root / INTO).exists()


def test_what_strip_leaves_out_costs_as_much(cell: Cell) -> None:
    """A bomb that fills no disk keeps a boot waiting all the same."""
    bomb = gzip.compress(header(b"zeros", size=100 << 20) + bytes(100 << 20) + entry(b"a/x") + bytes(1024))
    status, told = apply(cell, bomb, "strip = 1\n")
    assert status == 1 and "`zeros`" in told and "bomb" in told


@pytest.mark.parametrize("time", [0, -5, -(1 << 40), 1 << 33, 1 << 62])
def test_a_file_may_be_of_any_time(cell: Cell, time: int) -> None:
    """Whatever the file system makes of it is what a later check wants to see."""
    archive = pax(mtime=str(time).encode()) + entry(b"x", b"x") + bytes(1024)
    status, told = apply(cell, archive)
    assert status == 0 and "panicked" not in told, told
    assert "nothing to change" in apply(cell, None)[1]


def test_a_killed_extraction_leaves_nothing_in_place(cell: Cell) -> None:
    """Killed at the third file that it makes, of many; then done by the next agent, which clears away."""
    files = b"".join(entry(b"f%d" % number, b"." * 99999) for number in range(50)) + bytes(1024)
    cell.write("/profiles/packed.bin", files)
    apply(cell, files, under=(
        "strace", "--follow-forks", "--output=/dev/null", "--trace=fchmod", "--inject=fchmod:signal=KILL:when=3",
    ))
    assert not (cell.root / INTO).exists()
    assert [name for name in os.listdir(cell.root / "srv") if name.startswith(".loitsut-")]
    status, told = apply(cell, files)
    assert status == 0, told
    assert os.listdir(cell.root / "srv") == ["into"]
    assert len(os.listdir(cell.root / INTO)) == 51


def test_a_full_disk_leaves_nothing_behind(cell: Cell) -> None:
    (cell.root / "srv").mkdir()
    # The mount is of a namespace that ends with the command.
    small = f"mount -t tmpfs -o size=256k tmpfs {cell.root}/srv && \"$@\"; ls -A {cell.root}/srv"
    status, told = apply(cell, entry(b"big", b"." * 999_999) + bytes(1024), under=(
        "unshare", "--mount", "sh", "-uc", small, "sh",
    ))
    assert "entry `big` does not fit on the disk" in told
    assert told.splitlines()[-1].startswith("profile p: step 1 of 1 failed") or ".loitsut-" not in told.splitlines()[-1]
