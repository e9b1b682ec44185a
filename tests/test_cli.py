"""The command line, as somebody meets it who types: usage, missing things, and what machines read."""

import contextlib
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from cell import Cell
from lab.paths import DIST, REPO

PROFILE = {
    "p.toml": 'layers = ["only"]\n',
    "layers/only.toml": '[[resource]]\ntype = "file"\npath = "/srv/<&>"\ncontent = "hello\\n"\n',
}


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    cell = Cell(tmp_path / "cell")
    for name, text in PROFILE.items():
        cell.write(f"/etc/loitsut/profiles/{name}", text)
    return cell


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The directory as a file system that is read-only."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(("typed", "told"), [
    ([], "Usage: loitsut <COMMAND>"),
    (["aply"], "'apply'"),
    (["status", "--jsn"], "'--json'"),
    (["lint"], "<PATHS>"),
    (["plan", "p", "--param", "x"], "write NAME=VALUE"),
    (["completions", "tcsh"], "bash, fish, zsh"),
])
def test_usage_errors_exit_64(cell: Cell, typed: list[str], told: str) -> None:
    status, output = cell.run(*typed)
    assert status == 64 and told in output


@pytest.mark.parametrize("typed", [["--help"], ["--version"], ["apply", "--help"]])
def test_what_was_asked_for_is_no_error(cell: Cell, typed: list[str]) -> None:
    assert cell.run(*typed)[0] == 0


@pytest.mark.parametrize(("typed", "told"), [
    (["lint", "/nowhere"], "error: there is no /nowhere\n"),
    (["lint", "/\x1b[2J"], "error: there is no /\ufffd[2J\n"),
    (["lint", "/etc/hostname"], "error: /etc/hostname is not a profile or layer: those are .toml files\n"),
    (["plan", "--user-data", "/nowhere"], "error: cannot read /nowhere: No such file or directory\n"),
    (["plan", "p", "--profiles", "/nowhere"], "error: /nowhere is not a folder of profiles\n"),
    (["userdata", "decode", "/nowhere"], "error: cannot read /nowhere: No such file or directory\n"),
    (["analyze", "blame"], "error: nothing to analyze: loitsut.service has not run in this boot\n"),
    (["analyze", "plot"], "error: nothing to plot: loitsut.service has not run in this boot\n"),
])
def test_what_is_missing_is_named(cell: Cell, typed: list[str], told: str) -> None:
    cell.write("/etc/hostname", "here\n")
    assert cell.run(*typed) == (1, told)


@pytest.mark.parametrize("command", ["apply", "boot", "clean"])
def test_what_changes_the_system_is_for_root(command: str) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*nobody, DIST / "loitsut", command], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (
        1, f"error: `loitsut {command}` changes the system: run it as root (`loitsut plan` only looks)\n"
    )


def test_a_read_only_disk_is_told(cell: Cell) -> None:
    with read_only(cell.root):
        status, output = cell.run("apply", "p")
    assert status == 1 and "/run" in output and "Read-only file system" in output


def test_plan_tells_machines_what_differs(cell: Cell) -> None:
    status, output = cell.run("plan", "p", "--json")
    told = json.loads(output)
    assert status == 2 and told["profile"] == "p"
    [step] = told["steps"]
    assert (step["outcome"], step["layer"]) == ("differs", "only")
    assert step["diff"] == "--- /srv/<&>\n+++ /srv/<&>\n@@ -0,0 +1 @@\n+hello\n"


UNIT = """\
[[resource]]
type = 'service'
name = 'x'
unit = 'wanted'
"""


def test_plan_shows_how_a_unit_differs(cell: Cell) -> None:
    cell.write("/etc/loitsut/profiles/u.toml", 'layers = ["u"]')
    cell.write("/etc/loitsut/profiles/layers/u.toml", UNIT)
    cell.write("/etc/systemd/system/x.service", "found")
    [step] = json.loads(cell.run("plan", "u", "--json")[1])["steps"]
    assert "-found" in step["diff"] and "+wanted" in step["diff"]


def test_the_diff_of_a_plan_is_what_patch_takes(cell: Cell) -> None:
    cell.write("/srv/<&>", "good bye")
    (cell.root / "srv/<&>").chmod(0o644)
    [step] = json.loads(cell.run("plan", "p", "--json")[1])["steps"]
    subprocess.run(["patch", "--unified", cell.root / "srv/<&>"], input=step["diff"], text=True, check=True)
    assert (cell.root / "srv/<&>").read_text() == "hello\n"


def test_lint_tells_machines_where_it_is_wrong(cell: Cell) -> None:
    cell.write("/etc/loitsut/profiles/layers/only.toml", '[[resource]]\ntype = "file"\npth = "/srv/x"\ncontent = ""\n')
    status, output = cell.run("lint", "/etc/loitsut/profiles", "--json")
    errors = json.loads(output)["errors"]
    place = {"file": "/etc/loitsut/profiles/layers/only.toml", "line": 3, "column": 1}
    assert status == 1 and place in [error["place"] for error in errors]
    cell.write("/etc/loitsut/profiles/layers/only.toml", PROFILE["layers/only.toml"])
    status, output = cell.run("lint", "/etc/loitsut/profiles", "--json")
    assert status == 0 and json.loads(output) == {"checked": 2, "errors": []}


def boot(cell: Cell) -> None:
    """A boot by user-data of a file."""
    cell.write("/user-data", json.dumps({"loitsut": 1, "profile": "p"}))
    cell.write("/etc/loitsut/agent.toml", 'metadata = "/user-data"\n')
    status, output = cell.run("boot")
    assert status == 0, output


def test_analyze_tells_where_the_time_went(cell: Cell) -> None:
    boot(cell)
    status, output = cell.run("analyze", "blame", "--json")
    assert status == 0 and "file /srv/<&> (only, changed)" in [item["what"] for item in json.loads(output)]
    status, output = cell.run("analyze", "plot")
    svg = "{http://www.w3.org/2000/svg}"
    titles = [title.text or "" for title in ElementTree.fromstring(output).iter(f"{svg}title")]
    assert status == 0
    bars = ["metadata", "user-data", "profile", "apply", "file /srv/<&> (only, changed)"]
    assert [title.split(":")[0] for title in titles] == bars


def test_clean_leaves_nothing_of_this_machine(cell: Cell) -> None:
    boot(cell)
    for path in ("/var/lib/loitsut/commands/x", "/var/cache/loitsut/x"):
        cell.write(path, "of this machine")
    status, output = cell.run("clean")
    assert status == 0 and "removed /var/lib/loitsut\n" in output and "removed /run/loitsut/status.json\n" in output
    left = {str(path.relative_to(cell.root)) for path in cell.root.rglob("*") if path.is_file()}
    assert left == {
        "loitsut", "user-data", "srv/<&>", "run/loitsut/lock", "etc/loitsut/agent.toml",
        *(f"etc/loitsut/profiles/{name}" for name in PROFILE),
    }
    assert cell.run("clean") == (0, "nothing of this machine was left\n")


def test_clean_refuses_while_the_worker_runs(cell: Cell) -> None:
    cell.write("/var/lib/loitsut/x", "of this machine")
    units = cell.root / "run/systemd/units"
    units.mkdir(parents=True)
    os.symlink("0123", units / "invocation:loitsut-worker.service")  # as systemd leaves it
    status, output = cell.run("clean")
    assert status == 1 and "loitsut-worker.service is running: `systemctl stop" in output
    assert (cell.root / "var/lib/loitsut/x").exists()


@pytest.mark.parametrize(("shell", "check"), [("bash", ["bash", "-n"]), ("fish", ["fish", "-n"]), ("zsh", ["zsh", "-n"])])
def test_completions_are_what_the_shell_reads(cell: Cell, tmp_path: Path, shell: str, check: list[str]) -> None:
    status, output = cell.run("completions", shell)
    assert status == 0 and "userdata" in output
    if shutil.which(shell):
        (tmp_path / "completions").write_text(output)
        subprocess.run([*check, tmp_path / "completions"], check=True)


def test_every_command_has_a_man_page() -> None:
    pages = REPO / "dist/man"
    if not pages.exists():
        pytest.skip("man pages are made by `make build`")
    for page in ("loitsut", "loitsut-apply", "loitsut-analyze-plot", "loitsut-userdata-decode"):
        assert ".TH " in (pages / f"{page}.1").read_text()
