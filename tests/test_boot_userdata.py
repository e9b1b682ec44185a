"""Boots by user-data in every form that clouds and tools send; by none; and by what must be refused."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest
from boots import Machine, document, machine

LAYER = '[[resource]]\ntype = "file"\npath = "/srv/greeting"\ncontent = "hello, {{ launch.id }}\\n"\n'


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked) as one:
        one.status()
        yield one


def mime(part: bytes, encoding: str = "7bit") -> bytes:
    """As the driver sends it: beside a part that is cloud-init's."""
    message = MIMEMultipart()
    message.attach(MIMEText("#cloud-config\nhostname: other\n", "cloud-config"))
    ours = MIMEText("", "x-loitsut")
    ours.replace_header("Content-Transfer-Encoding", encoding)
    ours.set_payload(base64.encodebytes(part) if encoding == "base64" else part.decode())
    message.attach(ours)
    return message.as_bytes()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "byte order mark and CRLF": lambda text: b"\xef\xbb\xbf\r\n" + text.replace(b', "', b',\r\n"'),
    "gzip": gzip.compress,
    "gzip in two members": lambda text: gzip.compress(text[:99]) + gzip.compress(text[99:]),
    "base64 in one line": base64.b64encode,
    "base64 in lines, of gzip": lambda text: base64.encodebytes(gzip.compress(text)),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text)),
    "MIME": mime,
    "MIME with CRLF": lambda text: mime(text).replace(b"\n", b"\r\n"),
    "MIME in gzip": lambda text: gzip.compress(mime(text)),
    "MIME with an encoded part of gzip": lambda text: mime(gzip.compress(text), "base64"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_boots(booted: Machine, name: str) -> None:
    wanted = document(LAYER)
    status = booted.boot(ENCODINGS[name](json.dumps(wanted).encode()))
    assert (status["state"], status["launch"]) == ("ready", wanted["launch"]["id"])
    assert booted.run("cat", "/srv/greeting") == f"hello, {wanted['launch']['id']}\n"


@pytest.mark.parametrize(("user_data", "words"), [
    pytest.param(None, "absent", id="absent"),
    pytest.param(b"", "empty", id="empty"),
    pytest.param(b"#!/bin/sh\ntouch /srv/was-run\n", "", id="a shell script"),
    pytest.param(gzip.compress(b"#cloud-config\nhostname: other\n"), "", id="a cloud-config"),
    pytest.param(b'{"hello": "world"}', "", id="other JSON"),
])
def test_what_is_not_ours_is_told_in_one_line(booted: Machine, user_data: bytes | None, words: str) -> None:
    assert booted.boot(user_data)["state"] == "nothing"
    booted.run("loitsut", "status")
    assert booted.show("loitsut.service", "Result", "ExecMainStatus") == ["success", "0"]
    told = [entry["MESSAGE"] for entry in booted.journal("SYSLOG_IDENTIFIER=loitsut") if "LOITSUT_PHASE" not in entry]
    about = [line for line in told if "nothing to do" in line]
    assert len(about) == 1 and words in about[0] and "\n" not in about[0]
    assert booted.run("ls", "/srv") == "metadata\n"


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"profil": "q"}, ["`profil`", "`profile`"]),
    "another version of the document": ({"loitsut": 2}, ["2"]),
    "another agent that is not for this machine": (
        {"agent": {"version": "99.0.0", "url": {"pdp11": "https://ci.example.org/a"}, "sha256": {"pdp11": "0" * 64}},
         "a key of the future": True},
        ["99.0.0", "`url` and `sha256` for"],
    ),
    "bundle with another digest": (
        {"bundle": {"sha256": "0" * 64, "files": {"p.toml": "layers = []\n"}}}, ["bundle", "0" * 64],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_obeyed_is_refused(booted: Machine, name: str) -> None:
    keys, words = REFUSED[name]
    refused(booted, json.dumps(document(LAYER, **keys)).encode(), words)


@pytest.mark.parametrize(("user_data", "words"), [
    pytest.param(b'{"loitsut": 1, "profile": "p", "profile": "q"}', ["profile", "twice"], id="a doubled key"),
    pytest.param(b'{"loitsut": 1, "profile": 7}', ["profile", "string"], id="a number for a string"),
    pytest.param(b'{"loitsut": 1, "profile": "p"', ["line 1"], id="JSON cut short"),
    pytest.param(gzip.compress(json.dumps(document(LAYER)).encode())[:-20], ["gzip"], id="gzip cut short"),
    pytest.param(gzip.compress(bytes(64 << 20)), ["8388608 bytes"], id="a gzip bomb"),
])
def test_what_is_broken_is_refused(booted: Machine, user_data: bytes, words: list[str]) -> None:
    refused(booted, user_data, words)


def refused(booted: Machine, user_data: bytes, words: list[str]) -> None:
    """A boot that ends before anything is touched, and says why everywhere."""
    failure = booted.boot(user_data)["failure"]
    assert failure["class"] == "user-data"
    (ended,) = booted.journal("LOITSUT_STATE=failed")
    for word in words:
        assert word in failure["message"]
        assert word in ended["MESSAGE"]
    assert booted.show("loitsut.service", "Result", "NRestarts") == ["exit-code", "0"]
    assert booted.run("ls", "/srv") == "metadata\n"
