"""`loitsut show`: what a profile comes out as, where each value came from, and nothing that is secret."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from lab.paths import DIST, REPO

SECRET = "hunter2-hunter2"

DOCUMENT = {
    "loitsut": 1, "profile": "p", "params": {"branch": "11.4", "token": SECRET},
    "launch": {"id": "l-1", "name": "n-1", "pool": "deb"},
    "worker": {"master": "ci.example.org:9989", "name": "w-1", "password": SECRET},
}

PROFILE = """\
layers = ["top"]
[params]
size = 20
"""

BASE = """\
[params.size]
default = 10
[params.branch]
default = "main"
[params.colour]
default = "red"
[params.plain]
default = "as declared"
[params.token]
secret = true
"""

TOP = """\
requires = ["base"]
[[resource]]
type = "file"
path = "/etc/{{ params.branch }}"
content = '''
a "{{ params.size }}" {{ params.colour }} \\\\
{{ params.plain }}
'''
[[resource]]
type = "directory"
path = "/never"
when = "cpus < 1"
[[resource]]
type = "file"
path = "/secret"
content = "{{ params.token }}"
[[resource]]
type = "command"
script = 'echo "$LOITSUT_PARAM_TOKEN" ${#x} {{ not.a.template }}'
environment = { NAME = "{{ launch.name }}", "PASS" = "{{ worker.password }}" }
[worker]
type = "command"
command = ["/bin/agent", "{{ worker.name }}"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles/layers").mkdir(parents=True)
    for name, text in {"p": PROFILE, "layers/base": BASE, "layers/top": TOP}.items():
        (tmp_path / f"profiles/{name}.toml").write_text(text)
    (tmp_path / "user-data").write_text(json.dumps(DOCUMENT))
    return tmp_path


def show(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [DIST / "loitsut", "show", "--profiles", "profiles", *arguments], cwd=folder, capture_output=True, text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def launched(folder: Path, *arguments: str) -> str:
    return show(folder, "--user-data", "user-data", "--param", "colour=blue", *arguments)


def test_it_says_who_gave_each_value(folder: Path) -> None:
    shown = json.loads(launched(folder, "--json"))
    params = {param["name"]: (param["value"], param["given_by"], param["given_at"]) for param in shown["params"]}
    assert params == {
        "branch": ("11.4", "user-data", None),
        "colour": ("blue", "--param", None),
        "plain": ("as declared", "default", "profiles/layers/base.toml:8"),
        "size": (20, "profile", "profiles/p.toml:3"),
        "token": ("***", "user-data", None),
    }
    layers = [(layer["name"], layer["named_at"]) for layer in shown["layers"]]
    assert layers == [("base", ["profiles/layers/top.toml:1"]), ("top", ["profiles/p.toml:1"])]


def test_it_renders_what_is_wanted_here(folder: Path) -> None:
    shown = json.loads(launched(folder, "--json"))
    states = [(entry["place"], entry["phase"], entry["state"]) for entry in shown["resources"]]
    assert states == [
        ("profiles/layers/top.toml:2", "provision", "wanted"), ("profiles/layers/top.toml:9", "provision", "left-out"),
        ("profiles/layers/top.toml:13", "bind", "wanted"), ("profiles/layers/top.toml:17", "bind", "wanted"),
    ]
    file = {key["key"]: key for key in shown["resources"][0]["keys"]}
    assert file["path"] == {
        "key": "path", "value": "/etc/11.4", "line": 4, "uses": ["params.branch"], "unrendered": False
    }
    assert file["content"]["value"] == 'a "20" blue \\\\\nas declared\n'
    assert shown["worker"]["keys"][0]["value"] == ["/bin/agent", "w-1"]


def test_without_a_launch_it_shows_what_waits_for_one(folder: Path) -> None:
    shown = json.loads(show(folder, "p", "--json"))
    assert [entry["state"] for entry in shown["resources"]] == ["wanted", "left-out", "needs-launch", "needs-launch"]
    assert shown["worker"]["state"] == "needs-launch"
    assert shown["worker"]["keys"][0]["value"] == ["/bin/agent", "{{ worker.name }}"]


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["page", "json"])
def test_no_secret_is_shown(folder: Path, arguments: tuple[str, ...]) -> None:
    shown = launched(folder, *arguments)
    assert SECRET not in shown
    assert "{{ params.token }}" in shown and "{{ worker.password }}" in shown


def test_the_page_is_toml_and_says_the_same_as_the_json(folder: Path) -> None:
    page, shown = tomllib.loads(launched(folder)), json.loads(launched(folder, "--json"))
    assert page["layers"] == ["base", "top"]
    assert page["params"] == {param["name"]: param["value"] for param in shown["params"]}
    for table, entry in zip([*page["resource"], page["worker"]], [*shown["resources"], shown["worker"]], strict=True):
        assert table == {"type": entry["type"]} | {key["key"]: key["value"] for key in entry["keys"]}


def test_a_terminal_is_told_nothing(folder: Path) -> None:
    (folder / "profiles/layers/base.toml").write_text(BASE.replace("as declared", r"\u001b[31m\u009b31m\u0007"))
    page = show(folder, "p")
    assert not {"\x1b", "\x9b", "\x07"} & set(page)
    assert tomllib.loads(page)["params"]["plain"] == "\x1b[31m\x9b31m\x07"


def test_a_mistake_is_told_as_lint_tells_it(folder: Path) -> None:
    (folder / "profiles/p.toml").write_text('layers = ["tpo"]\n')
    done = subprocess.run(
        [DIST / "loitsut", "show", "p", "--profiles", folder / "profiles"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1 and "did you mean `top`?" in done.stderr


def test_what_is_shipped_can_be_shown() -> None:
    for profile in (REPO / "profiles").glob("*.toml"):
        page = show(REPO, profile.stem)
        assert len(tomllib.loads(page)["layers"]) > 1
