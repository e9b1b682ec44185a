"""Every resource type, on real systems: what is wanted comes about, applying again changes nothing, and what cannot be
done leaves everything as it was and says why."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tables import layers, mirror
from tables.case import Case, load
from tables.machine import Machine, machine
from tables.server import serving
from tables.system import System
from tables.tree import tree

PROFILES = "/etc/loitsut/profiles"
USER_DATA = "/etc/loitsut/user-data.json"

# What lies over the base tree, by where a case is played.
SURROUNDINGS = {
    "tree": [],
    "archive": ["archive"],
    "redhat": ["redhat"],
    "debian": ["debian"],
    "python": ["debian", "python"],
    "git": ["debian", "python", "git"],
    "uv": ["debian", "python", "uv"],
}

# Where cases find packages that are served by HTTP.
MIRRORED = {"archive", "redhat"}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    # Not pytest's own, which keeps what the last runs left.
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def archive(folder: Path) -> Path:
    return layers.archive(folder / "archive")


@pytest.fixture(scope="session")
def redhat(folder: Path, apt_port: int) -> Path:
    return layers.redhat(folder / "redhat", apt_port)


@pytest.fixture(scope="session")
def debian(folder: Path, apt_port: int) -> Path:
    return layers.debian(folder / "debian", apt_port)


@pytest.fixture(scope="session")
def python(folder: Path, debian: Path) -> Path:
    return layers.python(folder / "python", debian)


@pytest.fixture(scope="session")
def git(folder: Path, python: Path, debian: Path) -> Path:
    return layers.git(folder / "git", python, debian)


@pytest.fixture(scope="session")
def uv(folder: Path) -> Path:
    return layers.uv(folder / "uv")


@pytest.fixture(scope="session")
def booted(baked: Path) -> Iterator[Machine]:
    with machine(baked) as made:
        yield made


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="session")
def mirror_words(folder: Path) -> Iterator[dict[str, str]]:
    with mirror.serving(folder / "mirror") as words:
        yield words


@pytest.fixture
def words(case: Case, server: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """What stands for what in the texts of a case."""
    of_mirror = request.getfixturevalue("mirror_words") if case.on in MIRRORED else {}
    return {"@SERVER@": server, **of_mirror}


@pytest.fixture
def system(case: Case, baked: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    if case.on == "machine":
        yield request.getfixturevalue("booted")
        return
    over = [request.getfixturevalue(name) for name in SURROUNDINGS[case.on]]
    with tree(*over, baked) as made:
        yield made


@pytest.mark.parametrize("case", load(), ids=str)
def test_case(case: Case, system: System, words: dict[str, str]) -> None:
    case = case.with_words(words)
    prepare(case, system)
    before = system.listing()
    planned = agent(system, case, "plan")
    assert system.listing() == before, "`plan` touched something"
    applied = agent(system, case, "apply")
    told = "\n".join([planned.stdout, planned.stderr, applied.stdout, applied.stderr])
    for text in case.says:
        assert text in told
    for text in case.never_says:
        assert text not in told
    if case.error is None:
        assert planned.returncode == (2 if case.changes else 0), told
        assert applied.returncode == 0, told
        assert ("nothing to change" in applied.stdout) == (not case.changes), told
        system.script(case.after)
        check_that_nothing_is_left(case, system)
    else:
        assert planned.returncode in (1, 2), told
        assert applied.returncode == 1, told
        for text in case.error:
            assert text in applied.stderr
        if case.untouched:
            assert system.listing() == before, "`apply` failed and yet touched something"
        system.script(case.after)


def prepare(case: Case, system: System) -> None:
    for path, text in case.profiles().items():
        system.put(f"{PROFILES}/{path}", text)
    if document := case.document():
        system.put(USER_DATA, document)
    # The agent's own lock is no change, and does not make one when it is there.
    system.put("/run/loitsut/lock", "")
    system.script(case.before)
    if case.on == "redhat":
        # Whoever reads rpm's database brings it from the lower tree into the upper one.
        system.script("rpm --query --all")


def check_that_nothing_is_left(case: Case, system: System) -> None:
    before = system.listing()
    planned = agent(system, case, "plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    applied = agent(system, case, "apply")
    assert applied.returncode == 0 and "nothing to change" in applied.stdout, applied.stdout + applied.stderr
    assert system.listing() == before, "applied again, it touched something"


def agent(system: System, case: Case, verb: str) -> subprocess.CompletedProcess:
    source = ["--user-data", USER_DATA] if case.user_data is not None else ["case"]
    params = [word for name, value in case.params.items() for word in ("--param", f"{name}={value}")]
    return system.run("loitsut", verb, *source, *params)
