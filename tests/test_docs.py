"""The documentation says what is so: the tests that it names exist, and the reference is that of these types."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from lab.paths import REPO

TESTS = REPO / "tests"
FAULTS = REPO / "docs/faults.md"

ROW = re.compile(r"^\| (?!fault )(?!-)(?P<fault>[^|]*) \| ?(?P<what>.*) \| ?(?P<test>.*)\|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    return [(row["fault"], row["what"].strip(), row["test"].strip()) for row in ROW.finditer(FAULTS.read_text())]


def named() -> list[str]:
    """Everything in the last column that stands in backticks."""
    return sorted({name for _, _, test in rows() for name in re.findall(r"`([^`]+)`", test)})


def rust_crates() -> dict[str, str]:
    """All Rust text of each crate."""
    return {
        crate.name: "\n".join(file.read_text() for file in sorted(crate.rglob("*.rs")))
        for crate in (REPO / "src").iterdir()
    }


def exists(name: str) -> bool:
    """Whether a test is there: `table: case`, `file.py::test`, or a Rust test by its path."""
    if ": " in name:
        table, case = name.split(": ", 1)
        file = TESTS / f"tables/{table.removesuffix('.toml')}.toml"
        return file.is_file() and any(known.get("name") == case for known in cases(file))
    file, _, test = name.rpartition("::")
    if file.endswith(".py"):
        path = next(TESTS.rglob(file.removeprefix("tests/")), None)
        return path is not None and re.search(rf"^ *(async )?def {re.escape(test)}\(", path.read_text(), re.M) is not None
    crate, _, _ = name.partition("::")
    crates = rust_crates()
    return re.search(rf"\bfn {re.escape(test)}\(", crates.get(crate, crates["agent"])) is not None


def cases(file: Path) -> list[dict[str, object]]:
    return [case for group in tomllib.loads(file.read_text()).values() if isinstance(group, list) for case in group]


@pytest.mark.parametrize("name", named())
def test_a_test_that_is_named_exists(name: str) -> None:
    assert exists(name), f"docs/faults.md names `{name}`, and there is no such test"


def test_no_test_is_made_up() -> None:
    assert not exists("test_docs.py::test_that_nobody_wrote")
    assert not exists("file: a case that nobody wrote")
    assert not exists("host::nothing::that_nobody_wrote")


@pytest.mark.parametrize("fault, what, test", rows(), ids=[row[0][:60] for row in rows()])
def test_a_fault_is_answered_whole(fault: str, what: str, test: str) -> None:
    assert bool(what) == bool(test), f"{fault!r}: say both what happens and by which test that is known, or why by none"


def test_the_reference_is_that_of_these_types(tmp_path: Path) -> None:
    made = tmp_path / "reference.md"
    subprocess.run([sys.executable, REPO / "docs/reference.py", made], check=True, timeout=30)
    assert made.read_text() == (REPO / "docs/reference.md").read_text(), "it is out of date: `make docs`"


def test_links_lead_somewhere() -> None:
    for page in [REPO / "README.md", *(REPO / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
