"""Archives that somebody made to do harm, or that broke: each with what the agent must say of it."""

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable

BLOCK = 512
END = bytes(2 * BLOCK)
TEBIBYTE = 1 << 40


def header(name: bytes = b"x", kind: bytes = b"0", size: int = 0, link: bytes = b"", sum_off: int = 0) -> bytes:
    """A header of tar, however wrong."""
    sizes = b"%011o\0" % size if 0 <= size < 8**11 else b"\x80" + (size % (1 << 88)).to_bytes(11, "big")
    if size < 0:
        sizes = b"\xff" + sizes[1:]
    fields = struct.pack(
        "100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x", name, b"0000644\0", b"0000000\0", b"0000000\0", sizes,
        b"00000000000\0", b" " * 8, kind, link, b"ustar\0", b"00", b"", b"", b"0000000\0", b"0000000\0", b"",
    )
    return fields[:148] + b"%06o\0 " % (sum(fields) + sum_off) + fields[156:]


def mended(head: bytes) -> bytes:
    """The header with its right checksum."""
    blank = patched(head, 148, b" " * 8)
    return patched(blank, 148, b"%06o\0 " % sum(blank))


def entry(name: bytes = b"x", content: bytes = b"", **others: object) -> bytes:
    """A header and its content."""
    return header(name, size=len(content), **others) + content + bytes(-len(content) % BLOCK)  # type: ignore[arg-type]


def pax(kind: bytes = b"x", **values: bytes) -> bytes:
    """An extension of the next entry, or of all."""
    text = b"".join(record(key.replace("_", ".").encode(), value) for key, value in values.items())
    return entry(b"pax", text, kind=kind)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def long_name(name: bytes) -> bytes:
    return entry(b"././@LongLink", name + b"\0", kind=b"L")


def zipped(
    *entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, modes: dict[str, int] | None = None
) -> bytes:
    """A zip, of entries that may have the mode of a link or device."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.filename = name
            info.compress_type, info.external_attr = method, (modes or {}).get(name, 0) << 16
            archive.writestr(info, content)
    return held.getvalue()


def replaced(data: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new):]


def overlapping() -> bytes:
    """An entry that stands in the content of another."""
    inner = zipped(("b", b"." * 1000))
    local = inner[:inner.index(b"PK\1\2")]
    data = zipped(("a", local), ("b", b"." * 1000), method=zipfile.ZIP_STORED)
    directory = data.index(b"PK\1\2")
    second = inner[inner.index(b"PK\1\2"):inner.index(b"PK\5\6")]
    at = data.rindex(b"PK\1\2")
    end = data[data.index(b"PK\5\6"):]
    moved = patched(second, 42, struct.pack("<I", data.index(local)))
    return data[:data.index(b"PK\3\4", len(local) + 31)] + _directory(data[directory:at] + moved, end, len(local) + 31)


def _directory(entries: bytes, end: bytes, at: int) -> bytes:
    """A directory and its end, for where it stands."""
    return entries + patched(patched(end, 12, struct.pack("<I", len(entries))), 16, struct.pack("<I", at))


def hidden() -> bytes:
    """An entry that the directory does not have."""
    both, one = zipped(("a", b"a" * 50), ("b", b"b")), zipped(("a", b"a" * 50))
    start = both.index(b"PK\3\4", 4)
    directory = one[one.index(b"PK\1\2"):]
    local = both[:both.index(b"PK\1\2")]
    end = directory.index(b"PK\5\6")
    return local + patched(directory, end + 16, struct.pack("<I", len(local))) if start else b""


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "--check"], input=data, stdout=subprocess.PIPE, check=True).stdout


def xz_of_a_giant() -> bytes:
    """A header that asks for four gigabytes of memory, checksum and all."""
    data = bytearray(lzma.compress(TAR))
    at = data.index(b"\x21\x01", 12) + 2
    data[at] = 40
    size = (data[12] + 1) * 4
    data[12 + size - 4:12 + size] = struct.pack("<I", zlib.crc32(bytes(data[12:12 + size - 4])))
    return bytes(data)


TAR = entry(b"x", b"hello\n") + END
BAD_GZIP = patched(gzip.compress(TAR), len(gzip.compress(TAR)) - 8, b"\0\0\0\0")
LINK = 0o120777

# What is made, and words of the message.
ARCHIVES: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    # Out of it.
    "dots": (lambda: entry(b"../x") + END, ["`../x`", "`..`"]),
    "dots in the middle": (lambda: entry(b"a/../../x") + END, ["`a/../../x`", "`..`"]),
    "absolute": (lambda: entry(b"/srv/outside/x") + END, ["`/srv/outside/x`", "absolute"]),
    "absolute by pax": (lambda: pax(path=b"/srv/x") + entry() + END, ["`/srv/x`", "absolute"]),
    "dots by a long name": (lambda: long_name(b"../x") + entry() + END, ["`../x`", "`..`"]),
    "a link, then through it": (
        lambda: entry(b"a", kind=b"2", link=b"/srv/outside") + entry(b"a/x", b"evil") + END, ["`a`", "twice"]),
    "a relative link, then through it": (
        lambda: entry(b"a", kind=b"2", link=b"../outside") + entry(b"a/x", b"evil") + END, ["`a`", "twice"]),
    "a link, then a file over it": (
        lambda: entry(b"a", kind=b"2", link=b"/srv/outside/x") + entry(b"a", b"evil") + END, ["`a`", "twice"]),
    "a chain of links": (
        lambda: entry(b"a", kind=b"2", link=b".") + entry(b"a/b", kind=b"2", link=b"..") + entry(b"a/b/c", b"x") + END,
        ["`a`", "twice"]),
    "a hard link to elsewhere": (
        lambda: entry(b"a", kind=b"1", link=b"/srv/outside/mine") + END, ["`a`", "absolute"]),
    "a hard link upwards": (lambda: entry(b"a", kind=b"1", link=b"../outside/mine") + END, ["`a`", "`..`"]),
    "a hard link to nothing": (lambda: entry(b"a", kind=b"1", link=b"b") + END, ["`a`", "`b`", "no file before it"]),
    "a hard link to a link": (
        lambda: entry(b"b", kind=b"2", link=b"/srv/outside/mine") + entry(b"a", kind=b"1", link=b"b") + END,
        ["`a`", "`b`", "no file before it"]),
    "a hard link to a directory": (
        lambda: entry(b"d/", kind=b"5") + entry(b"a", kind=b"1", link=b"d") + END, ["`a`", "`d`", "no file"]),
    "a hard link to itself": (lambda: entry(b"a", kind=b"1", link=b"a") + END, ["`a`", "no file"]),
    # One name for two things.
    "a file twice": (lambda: entry(b"a", b"1") + entry(b"a", b"2") + END, ["`a`", "twice"]),
    "a file twice, spelt otherwise": (lambda: entry(b"a/b") + entry(b"./a//b") + END, ["`./a//b`", "twice"]),
    "a directory, then a file": (lambda: entry(b"a/", kind=b"5") + entry(b"a", b"2") + END, ["`a`", "twice"]),
    "a file, then a directory": (lambda: entry(b"a", b"1") + entry(b"a/b", b"2") + END, ["`a/b`", "no directory"]),
    "a mark of ours": (lambda: entry(b".loitsut", b"x") + END, ["`.loitsut`", "mark"]),
    # What no archive makes.
    "a device": (lambda: entry(b"null", kind=b"3") + END, ["`null`", "device"]),
    "a disk": (lambda: entry(b"sda", kind=b"4") + END, ["`sda`", "device"]),
    "a fifo": (lambda: entry(b"pipe", kind=b"6") + END, ["`pipe`", "fifo"]),
    "a type of its own": (lambda: entry(b"odd", kind=b"Q") + END, ["`odd`", "`Q`", "not known"]),
    "a part of a volume": (lambda: entry(b"odd", kind=b"M") + END, ["`odd`", "`M`"]),
    "a sparse file": (lambda: entry(b"holes", kind=b"S") + END, ["`holes`", "sparse"]),
    "a sparse file by pax": (lambda: pax(GNU_sparse_major=b"1") + entry() + END, ["sparse", "--sparse"]),
    # Said twice, and differently.
    "two sizes": (lambda: pax(size=b"3") + entry(b"x", b"hello") + END, ["`x`", "two sizes", "--format=gnu"]),
    "a size that is none": (lambda: pax(size=b"many") + entry() + END, ["pax `size`", "no number"]),
    "a name for all": (lambda: pax(b"g", path=b"y") + entry() + END, ["`path` for all"]),
    "a size for all": (lambda: pax(b"g", size=b"9") + entry() + END, ["`size` for all"]),
    "a record of a wrong length": (
        lambda: entry(b"pax", b"99 path=y\n", kind=b"x") + entry() + END, ["broken pax"]),
    "a directory with content": (lambda: entry(b"d/", b"evil", kind=b"5") + END, ["`d/`", "content"]),
    "a link with content": (lambda: entry(b"l", b"evil", kind=b"2", link=b"x") + END, ["`l`", "content"]),
    # Names.
    "NUL in a name": (lambda: pax(path=b"a\0b") + entry() + END, ["control character"]),
    "an escape sequence in a name": (lambda: pax(path=b"a\x1b[2Jb") + entry() + END, ["`a\ufffd[2Jb`", "control"]),
    "an escape sequence in the name of a broken header": (
        lambda: mended(patched(header(b"a\x1b[2Jb"), 124, b"no number!!\0")) + END, ["broken", "a\ufffd[2Jb"]),
    "a new line in a name": (lambda: entry(b"a\nb") + END, ["control character"]),
    "a name that is not UTF-8": (lambda: entry(b"caf\xe9") + END, ["`caf\ufffd`", "UTF-8"]),
    "no name": (lambda: entry(b"") + END, ["no name"]),
    "a link to nowhere": (lambda: entry(b"l", kind=b"2", link=b"") + END, ["`l`", "link to nothing"]),
    "a name too long": (lambda: long_name(b"n" * 300) + entry() + END, ["nnn", "too long"]),
    "a name of megabytes": (lambda: long_name(b"n" * (2 << 20)) + entry() + END, ["2097153 bytes", "attack"]),
    "a name of terabytes": (lambda: header(b"l", b"L", TEBIBYTE) + END, [f"{TEBIBYTE} bytes", "attack"]),
    "too many directories deep": (lambda: long_name(b"d/" * 200 + b"x") + entry() + END, ["directories deep"]),
    # Broken.
    "a wrong checksum": (lambda: header(sum_off=1) + END, ["no known kind"]),
    "a wrong checksum later": (lambda: entry() + header(sum_off=1) + END, ["checksum"]),
    "cut off in a header": (lambda: entry(b"x", b"hello") + header()[:100], ["cut off"]),
    "cut off in a file": (lambda: header(b"x", size=4096) + bytes(BLOCK), ["`x`", "3584 bytes"]),
    "cut off between files": (lambda: entry(b"x", b"hello"), ["cut off"]),
    "a file of terabytes": (lambda: header(b"x", size=TEBIBYTE) + b"hello", ["`x`", "missing"]),
    "a size below zero": (lambda: header(b"x", size=-1) + END, ["impossible size"]),
    "another archive behind it": (lambda: TAR + TAR, ["behind its end"]),
    "nothing in it": (lambda: END, ["nothing in it"]),
    "empty": (lambda: b"", ["is empty"]),
    "gzip cut off": (lambda: gzip.compress(entry(b"x", bytes(range(256)) * 999) + END)[:-9], ["cut off"]),
    "gzip with a wrong checksum": (lambda: BAD_GZIP, ["broken", "checksum"]),
    "gzip with something behind it": (lambda: gzip.compress(TAR) + b"evil" * 9, ["broken"]),
    "gzip of something else": (lambda: gzip.compress(b"hello\n" * 200), ["no tar inside"]),
    "gzip of a bomb": (
        lambda: gzip.compress(header(b"zeros", size=100 << 20) + bytes(100 << 20) + END, 9), ["`zeros`", "bomb"]),
    "xz cut off": (lambda: lzma.compress(TAR)[:-20], ["cut off"]),
    "xz that wants gigabytes of memory": (xz_of_a_giant, ["broken", "mem"]),
    "bzip2 with a wrong checksum": (
        lambda: patched(bz2.compress(TAR), 10, b"\0\0\0\0"), ["broken"]),
    "zstd cut off": (lambda: zstd(entry(b"x", bytes(range(256)) * 99) + END)[:-9], ["cut off"]),
    "zstd with a wrong checksum": (lambda: zstd(TAR)[:-4] + b"evil", ["broken", "checksum"]),
    # Something else, whatever its name says.
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(600), ["is 7z", "zip"]),
    "RAR": (lambda: b"Rar!\x1a\7\0" + bytes(600), ["is RAR"]),
    "lz4": (lambda: b"\x04\x22\x4d\x18" + bytes(600), ["is lz4"]),
    "compress": (lambda: b"\x1f\x9d\x90" + bytes(600), ["compress (.Z)"]),
    "a Debian package": (lambda: b"!<arch>\ndebian-binary" + bytes(600), [".deb"]),
    "an HTML page": (lambda: b"<!DOCTYPE html><title>404</title>", ["HTML page"]),
    "a text": (lambda: b"hello\n" * 200, ["no known kind"]),
    # zip.
    "zip: dots": (lambda: zipped(("../x", b"evil")), ["`../x`", "`..`"]),
    "zip: absolute": (lambda: zipped(("/srv/outside/x", b"evil")), ["`/srv/outside/x`", "absolute"]),
    "zip: backslashes": (lambda: zipped(("..\\x", b"evil")), ["`..\\x`", "backslash"]),
    "zip: a link, then through it": (
        lambda: zipped(("a", b"/srv/outside"), ("a/x", b"evil"), modes={"a": LINK}), ["`a`", "twice"]),
    "zip: a fifo": (lambda: zipped(("pipe", b""), modes={"pipe": 0o010644}), ["`pipe`", "fifo"]),
    "zip: a device": (lambda: zipped(("null", b""), modes={"null": 0o020644}), ["`null`", "device"]),
    "zip: one name twice": (lambda: replaced(zipped(("a", b"1"), ("b", b"2")), b"b", b"a", 9), ["one name"]),
    "zip: encrypted": (
        lambda: _flagged(zipped(("secret", b"x")), 1), ["`secret`", "encrypted"]),
    "zip: compressed by lzma": (lambda: zipped(("x", b"hello"), method=zipfile.ZIP_LZMA), ["`x`", "LZMA"]),
    "zip: overlapping": (overlapping, ["overlaps"]),
    "zip: something hidden": (hidden, ["no entry"]),
    "zip: two names": (lambda: replaced(zipped(("one", b"x")), b"one", b"two"), ["`one`", "something else"]),
    "zip: two sizes": (
        lambda: patched(zipped(("x", b"hello"), method=zipfile.ZIP_STORED), 22, b"\x04"), ["`x`", "something else"]),
    "zip: a wrong checksum": (
        lambda: replaced(zipped(("x", b"hello"), method=zipfile.ZIP_STORED), b"hello", b"hellO"), ["`x`", "checksum"]),
    "zip: larger than it says": (lambda: _smaller(zipped(("x", b"." * 5000)), 100), ["`x`"]),
    "zip: a bomb": (lambda: zipped(("zeros", bytes(100 << 20))), ["`zeros`", "bomb"]),
    "zip: cut off": (lambda: zipped(("x", b"hello"))[:-30], ["broken"]),
    "zip: something before it": (lambda: b"PK\3\4" + zipped(("x", b"hello")), []),
    "zip: nothing in it": (lambda: zipped(), ["nothing in it"]),
}


def _flagged(data: bytes, flag: int) -> bytes:
    """With a flag set in both headers of the only entry."""
    directory = data.index(b"PK\1\2")
    return patched(patched(data, 6, bytes([flag])), directory + 8, bytes([flag]))


def _smaller(data: bytes, size: int) -> bytes:
    """With another size in both headers of the only entry."""
    directory = data.index(b"PK\1\2")
    said = struct.pack("<I", size)
    return patched(patched(data, 22, said), directory + 24, said)
