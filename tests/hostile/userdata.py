"""Hostile user-data."""

import base64
import gzip
import json
from typing import Any

from hostile.case import Received

SMALL: dict[str, Any] = {"loitsut": 1, "profile": "p"}
HEX = "0" * 64


def document(**more: Any) -> bytes:
    return json.dumps(SMALL | more).encode()


def mime(body: str, kind: str = "multipart/mixed; boundary=B") -> bytes:
    return f"MIME-Version: 1.0\nContent-Type: {kind}\n\n{body}".encode()


def part(text: bytes, headers: str = "") -> str:
    return f"--B\nContent-Type: text/x-loitsut\n{headers}\n{text.decode()}\n"


def wrapped(times: int) -> bytes:
    data = document()
    for _ in range(times):
        data = base64.b64encode(data)
    return data


def nested(depth: int) -> bytes:
    """A multipart in a multipart, and so on."""
    begins = "\n".join(f"--B{n}\nContent-Type: multipart/mixed; boundary=B{n + 1}\n" for n in range(depth))
    ends = "\n".join(f"--B{n}--" for n in reversed(range(depth)))
    return mime(f"{begins}\n{ends}\n", "multipart/mixed; boundary=B0")


def bomb(size: int) -> bytes:
    return gzip.compress(b'{"loitsut": 1, "profile": "' + b"x" * size, mtime=0)


WORKER = {"master": "ci.example.org:9989", "name": "w", "password": "hunter2-hunter2"}
DRIVER = {"url": "https://ci.example.org", "token": "hunter2-hunter2"}
AGAIN = "send it again"

ENCODINGS = [
    Received("empty", ("the user-data is empty",), b""),
    Received("only white space", ("the user-data is empty",), b" \r\n\t \n"),
    Received("only a byte order mark", ("the user-data is empty",), b"\xef\xbb\xbf"),
    Received("a shell script", ("the user-data is a script",), b"#!/bin/sh\nreboot\n"),
    Received("a cloud-config", ("the user-data is a cloud-config",), b"#cloud-config\npackages: [x]\n"),
    Received("an array", ("neither a JSON object nor a MIME message",), b'["loitsut"]'),
    Received("somebody else's object", ("a JSON object without the key `loitsut`",), b'{"ignition": {}}'),
    Received("over a mebibyte", ("1048577 bytes", "at most 1048576", "bundle.url"), b" " * (1 << 20) + b"x"),
    Received("a gzip bomb", ("more than 8388608 bytes when decoded", "bundle.url"), bomb(200 << 20)),
    Received("a bomb of many members", ("more than 8388608 bytes when decoded",), bomb(1 << 20) * 40),
    Received("a bomb in base64", ("more than 8388608 bytes when decoded",), base64.b64encode(bomb(64 << 20))),
    Received("gzip cut off", ("is gzip, but broken: it was cut off", AGAIN), gzip.compress(document())[:-9]),
    Received("gzip with a wrong checksum", ("is gzip, but broken", AGAIN), gzip.compress(document())[:-8] + b"\0" * 8),
    Received("gzip of nothing but its magic", ("is gzip, but broken", AGAIN), b"\x1f\x8b"),
    Received("gzip of an unknown method", ("is gzip, but broken",), b"\x1f\x8b\x09" + b"\0" * 40),
    Received("gzip with garbage behind it", ("is gzip, but broken",), gzip.compress(document()) + b"garbage"),
    Received("base64 cut off", ("is base64, but broken: it was cut off", AGAIN), base64.b64encode(document())[:-7]),
    Received("base64 with a stray character", ("is base64, but broken: `!`",), base64.b64encode(document())[:24] + b"!!!!"),
    Received("base64 with an escape sequence", (r"is base64, but broken: `\x1b`",), base64.b64encode(document())[:24] + b"\x1b[2J"),
    Received("base64 nine times over", ("encoded more than 4 times over",), wrapped(9)),
    Received("gzip nine times over", ("encoded more than 4 times over",), gzip.compress(gzip.compress(gzip.compress(
        gzip.compress(gzip.compress(gzip.compress(document()))))))),
    Received("UTF-16", ("is UTF-16: save it as UTF-8",), document().decode().encode("utf-16")),
    Received("not UTF-8", ("is not UTF-8 text at byte 15",), b'{"loitsut": 1, \xff}'),
    Received("MIME cut off", ("it was cut off: its last boundary is missing", AGAIN), mime(part(document()))),
    Received("MIME without a boundary", ("names no boundary",), mime(part(document()), "multipart/mixed")),
    Received("MIME without our part", ("without a text/x-loitsut part",), mime("--B\nContent-Type: text/plain\n\nx\n--B--\n")),
    Received("two parts of ours", ("2 of its parts are text/x-loitsut: send one",), mime(part(document()) * 2 + "--B--\n")),
    Received("MIME in MIME without end", ("nested more than 8 deep",), nested(5000)),
    Received("a hundred thousand parts", ("more than 1000 parts",), mime("--B\n\n" * 100_000)),
    Received("a header without end", ("a header in it is longer than 65536 bytes",),
             b"Content-Type: text/x-loitsut; x=" + b"y" * 500_000 + b"\n\n"),
    Received("a transfer encoding that is not one", ("part cannot be decoded",),
             mime(part(b"!!!!", "Content-Transfer-Encoding: base64\n") + "--B--\n")),
]

DOCUMENTS = [
    Received("JSON cut off", ("the JSON ends in the middle", AGAIN), document()[:-1]),
    Received("JSON with a comment", ("line 2, column", "this is not JSON"), b'{"loitsut": 1,\n // why\n "profile": "p"}'),
    Received("JSON with more behind it", ("this is not JSON",), document() + b"{}"),
    Received("lists without end", ("this is not JSON: recursion limit exceeded",),
             b'{"loitsut": 1, "params": {"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}"),
    Received("objects without end", ("recursion limit exceeded",),
             b'{"loitsut": 1, "params": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_001),
    Received("a key twice", ("the key `profile` is given twice", "line 1"), b'{"loitsut": 1, "profile": "p", "profile": "q"}'),
    Received("our own key twice", ("the key `loitsut` is given twice",), b'{"loitsut": 1, "loitsut": 1, "profile": "p"}'),
    Received("a parameter twice", ("the key `params.x` is given twice",), b'{"loitsut": 1, "profile": "p", "params": {"x": 1, "x": 2}}'),
    Received("an unknown key", ("unknown key `profle`", "did you mean `profile`?"), document(profle="p")),
    Received("an unknown key deep inside", ("unknown key `lease.on_failure.held`", "did you mean `hold`?"),
             document(lease={"on_failure": {"held": "1m"}})),
    Received("an escape sequence for a key", ("unknown key `\\u{1b}[2J",), document(**{"\x1b[2J\x07": 1})),
    Received("a key of a megabyte", ("unknown key `aaaa", "…`"), document(**{"a" * 900_000: 1})),
    Received("a later format", ("is of format 2", "too old", "newer agent"), b'{"loitsut": 2, "profile": "p", "later": 1}'),
    Received("format 0", ("`loitsut` is 0: the first format is 1",), b'{"loitsut": 0, "profile": "p"}'),
    Received("a negative format", ("`loitsut`: expected a positive whole number, found a number",), b'{"loitsut": -1, "profile": "p"}'),
    Received("a format in quotes", ("`loitsut`: expected a positive whole number, found a string",), b'{"loitsut": "1", "profile": "p"}'),
    Received("no profile", ("the key `profile` is missing",), b'{"loitsut": 1}'),
    Received("a number for a profile", ("`profile`: expected", "found a number"), document(profile=7)),
    Received("null for an object", ("`worker`: expected an object, found null",), document(worker=None)),
    Received("a list for an object", ("`worker`: expected an object, found a list",), document(worker=["a", "b", "c"])),
    Received("a profile that climbs", ("`profile`: `../../etc/passwd` is not the name of a profile", "without `..`"),
             document(profile="../../etc/passwd")),
    Received("an absolute profile", ("`/etc/passwd` is not the name of a profile",), document(profile="/etc/passwd")),
    Received("a profile with a NUL", ("is not the name of a profile",), document(profile="p\0q")),
    Received("a bundle file that climbs", ("`../x.toml` has `..` in it",), document(bundle={"files": {"../x.toml": ""}})),
    Received("an absolute bundle file", ("`/etc/cron.d/x` is absolute", "relative"), document(bundle={"files": {"/etc/cron.d/x": ""}})),
    Received("one bundle file twice", ("the key `bundle.files.a` is given twice",), document(bundle={"files": {"a": "", "./a": ""}})),
    Received("a bundle file inside another", ("`a` is a file, and `a/b` needs it to be a directory",),
             document(bundle={"files": {"a": "", "a/b": ""}})),
    Received("a bundle with a line end in a name", ("has the character '\\n' in it",), document(bundle={"files": {"a\nb": ""}})),
    Received("a bundle that was changed", ("`sha256` is 0000", "a file was changed, or left out"),
             document(bundle={"files": {"p.toml": ""}, "sha256": HEX})),
    Received("a bundle of both forms", ("give exactly one of `files` and `url`",),
             document(bundle={"files": {}, "url": "https://e.org/b", "sha256": HEX})),
    Received("a bundle that cannot be verified", ("`url` needs `sha256`",), document(bundle={"url": "https://e.org/b"})),
    Received("a digest that is none", ("is not a SHA-256",), document(bundle={"url": "https://e.org/b", "sha256": "abc"})),
    Received("a URL of a file", ("`bundle.url`: this is not an http or https URL",),
             document(bundle={"url": "file:///etc/shadow", "sha256": HEX})),
    Received("a password in a URL", ("there is a user or password in the URL",),
             document(bundle={"url": "https://me:hunter2-hunter2@e.org/b", "sha256": HEX})),
    Received("an agent that cannot be verified", ("`agent.url.x86_64` has no counterpart in `agent.sha256`",),
             document(agent={"version": "9", "url": {"x86_64": "https://e.org/a"}})),
    Received("a version that is a path", ("`agent.version`", "is not a name"), document(agent={"version": "../9"})),
    Received("a launch that is a path", ("`launch.id`", "is not a name"),
             document(launch={"id": "../../x", "name": "n", "pool": "p"})),
    Received("a launch of a thousand letters", ("is longer than 128 characters",),
             document(launch={"id": "x" * 1000, "name": "n", "pool": "p"})),
    Received("a master without a port", ("`worker.master`", "the port is missing"), document(worker=WORKER | {"master": "ci"})),
    Received("a master with shell in it", ("`worker.master`", "is not `host:port`"),
             document(worker=WORKER | {"master": "$(reboot):1"})),
    Received("a number for a password", ("`worker.password`: expected a string, found a number",),
             document(worker=WORKER | {"password": 4711})),
    Received("a token with a line end", ("`driver.token` is empty, or has spaces or special characters",),
             document(driver=DRIVER | {"token": "hunter2-hunter2\r\nX-Evil: 1"})),
    Received("a CA that is none", ("`driver.ca` is not a certificate in PEM",), document(driver=DRIVER | {"ca": "hunter2-hunter2"})),
    Received("a lease of zero", ("`lease.life` is zero",), document(lease={"life": "0s"})),
    Received("a lease without a unit", ("`lease.life`", "is not a duration"), document(lease={"life": "15"})),
    Received("a lease of a thousand years", ("is longer than 3650 days",), document(lease={"life": "999999d"})),
    Received("a lease that overflows", ("is longer than 3650 days",), document(lease={"life": "99999999999999999999s"})),
    Received("an object for a parameter", ("`params.x`",), document(params={"x": {"y": 1}})),
    Received("a number that is not whole", ("`params.x`",), document(params={"x": 1.5})),
    Received("neither open nor closed", ("`metadata`: `ajar` is neither `open` nor `closed`",), document(metadata="ajar")),
    Received("a word for a boolean", ("`disposable`: expected a boolean, found a string",), document(disposable="yes")),
]

CASES = [*ENCODINGS, *DOCUMENTS]
