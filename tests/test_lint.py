"""`loitsut lint` of profiles with one mistake each: what it says, word for word, and that it only looks.

A case is a folder `lint/NAME` and the whole output in `lint/NAME.txt`. After a wished-for change of the words:
`UPDATE=1 make system`, and read the difference.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from lab.paths import DIST, REPO

CASES = sorted(folder for folder in (Path(__file__).parent / "lint").iterdir() if folder.is_dir())

# System calls that change a file system, whatever their arguments.
CHANGES = re.compile(
    r"^\d+ +(mkdir|rmdir|unlink|rename|link|symlink|mknod|truncate|chmod|fchmodat|chown|fchownat|lchown|"
    r"mount|umount2|utimensat|setxattr|creat)\w*\("
)


def lint(*paths: Path, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*under, DIST / "loitsut", "lint", *paths], capture_output=True, text=True, timeout=30, cwd="/")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_shown_where_it_is(case: Path) -> None:
    done = lint(case)
    said = done.stderr.replace(f"{case}/", "")
    golden = case.with_suffix(".txt")
    if "UPDATE" in os.environ:
        golden.write_text(said)
    assert (done.returncode, done.stdout, said) == (1, "", golden.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_has_file_line_caret_and_help(case: Path) -> None:
    messages = case.with_suffix(".txt").read_text().split("\n\n")
    assert re.fullmatch(r"\d+ errors?\n", messages.pop())
    for message in messages:
        assert message.startswith("error: ")
        assert re.search(r"^ *--> (layers/)?\S+\.toml:\d+:\d+$", message, re.MULTILINE)
        assert re.search(r"^ *\| +\^+", message, re.MULTILINE)
        assert re.search(r"^ *= help: \S", message, re.MULTILINE)


@pytest.mark.parametrize("case", [*CASES, REPO / "profiles"], ids=lambda case: case.name)
def test_nothing_is_touched(case: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lint(case, under=("strace", "--follow-forks", "--trace=%file,%desc", f"--output={trace}"))
    lines = trace.read_text().splitlines()
    assert any(f'"{case}/' in line and "openat(" in line for line in lines), "the trace shows no reading"
    assert [line for line in lines if CHANGES.match(line) or re.search("O_WRONLY|O_RDWR|O_CREAT", line)] == []


def test_the_shipped_profiles_are_clean() -> None:
    done = lint(REPO / "profiles")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_single_file_is_checked_in_its_folder() -> None:
    done = lint(REPO / "profiles/cpp.toml", REPO / "profiles/layers/deps/boost.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 files checked, no errors\n", "")


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = lint(tmp_path / "nothing")
    assert done.returncode == 1
    assert str(tmp_path / "nothing") in done.stderr
