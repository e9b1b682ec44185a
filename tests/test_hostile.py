"""Hostile user-data, profiles and layers, through the real binary: refused in good order, and nothing is touched."""

import json
import resource
import subprocess
from pathlib import Path

import pytest
from hostile import profiles, userdata
from hostile.case import Case, Received, Written
from lab.paths import DIST

# More than any of it needs, and far less than what a bomb would take.
MEMORY = 256 << 20
SECONDS = 30

SECRETS = ("hunter2", "4711")


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def loitsut(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DIST / "loitsut", *arguments], cwd=folder, capture_output=True, text=True, timeout=SECONDS, preexec_fn=limits
    )


def assert_refused(case: Case, done: subprocess.CompletedProcess[str], says: tuple[str, ...] = ()) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, f"exit {done.returncode}:\n{said[:2000]}"
    assert done.stdout == "" and "panicked" not in said
    missing = [text for text in says or case.says if text not in done.stderr]
    assert missing == [], f"not said:\n{said[:2000]}"
    control = {c for c in said if not c.isprintable() and c != "\n"}
    assert control == set(), f"told to a terminal: {control}"
    assert [secret for secret in SECRETS if secret in said] == []
    assert len(said) < 100_000


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def ids(case: Case) -> str:
    return case.name


def test_there_are_enough() -> None:
    names = [case.name for case in [*userdata.CASES, *profiles.CASES]]
    assert len(userdata.CASES) + len(profiles.CASES) >= 70
    assert all(case.says for case in [*userdata.CASES, *profiles.CASES])
    assert len({("user-data", case.name) for case in userdata.CASES} | {("profile", name) for name in names}) > 70


@pytest.mark.parametrize("case", userdata.CASES, ids=ids)
def test_user_data_is_refused(case: Received, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_bytes(case.data)
    before = tree(tmp_path)
    assert_refused(case, loitsut(tmp_path, "userdata", "decode", "user-data"))
    assert_refused(case, loitsut(tmp_path, "plan", "--user-data", "user-data"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("case", profiles.CASES, ids=ids)
def test_a_profile_is_refused(case: Written, tmp_path: Path) -> None:
    for path, text in case.files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    before = tree(tmp_path)
    assert_refused(case, loitsut(tmp_path, "lint", "."))
    # In a bundle: what lint has to know of a machine is known now, and the message may be of that.
    if all(isinstance(text, str) for text in case.files.values()):
        document = {
            "loitsut": 1, "profile": "p", "bundle": {"files": case.files}, "params": secrets(case),
            "launch": {"id": "l", "name": "n", "pool": "p"},
            "worker": {"master": "ci.example.org:9989", "name": "w", "password": "hunter2-hunter2"},
        }
        (tmp_path / "user-data").write_text(json.dumps(document))
        before["user-data"] = (tmp_path / "user-data").read_bytes()
        assert_refused(case, loitsut(tmp_path, "plan", "--user-data", "user-data"))
    assert tree(tmp_path) == before


def secrets(case: Written) -> dict[str, str]:
    """Values for what only user-data may give."""
    return {"x": "hunter2-hunter2"} if "secret = true\n[[" in str(case.files["layers/a.toml"] if "layers/a.toml" in case.files else "") else {}
