"""`loitsut schema`: what editors are told fits what is shipped, and refuses what lint refuses for its keys."""

import copy
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from lab.paths import DIST, REPO, VENV

LINT = Path(__file__).parent / "lint"
KINDS = ("layer", "profile", "userdata")

A_DOCUMENT = {
    "loitsut": 1,
    "agent": {"version": "1.4.0", "url": {"x86_64": "https://e.org/l"}, "sha256": {"x86_64": "0" * 64}},
    "launch": {"id": "0192f", "name": "deb-3", "pool": "deb"},
    "profile": "p",
    "params": {"a": "text", "b": 1, "c": True, "d": ["x"]},
    "bundle": {"files": {"p.toml": "layers = []\n"}},
    "worker": {"master": "ci.example.org:9989", "name": "deb-3", "password": "secret"},
    "driver": {"url": "https://ci.example.org:7878", "token": "t", "ca": "-----BEGIN CERTIFICATE-----"},
    "lease": {"join": "15m", "idle": "30m", "life": "8h", "on_failure": {"hold": "30m"}},
    "metadata": "open",
    "disposable": True,
}


def schema(kind: str) -> dict[str, Any]:
    done = subprocess.run([DIST / "loitsut", "schema", kind], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)


def validator(kind: str) -> Draft7Validator:
    return Draft7Validator(schema(kind))


def kind_of(file: Path) -> str:
    return "layer" if "layers" in file.parts else "profile"


def written(folder: Path) -> list[Path]:
    """The profiles and layers of a folder; TOML in other folders is something else."""
    return sorted([*folder.glob("*.toml"), *folder.glob("layers/**/*.toml")])


def objects(node: Any) -> list[dict[str, Any]]:
    """Every schema of an object with keys of its own, wherever it stands."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    below = [found for value in inner for found in objects(value)]
    return [*below, node] if isinstance(node, dict) and isinstance(node.get("properties"), dict) else below


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_draft_07_and_closed(kind: str) -> None:
    found = schema(kind)
    assert found["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(found)
    for table in objects(found):
        assert table.get("additionalProperties") is False, table
        undescribed = [key for key, value in table["properties"].items() if not {"description", "const"} & value.keys()]
        assert undescribed == []


@pytest.mark.parametrize("file", written(REPO / "profiles"), ids=lambda file: file.stem)
def test_what_is_shipped_fits(file: Path) -> None:
    validator(kind_of(file)).validate(tomllib.loads(file.read_text()))


def test_every_type_of_resource_is_known(tmp_path: Path) -> None:
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers/a.toml").write_text('[[resource]]\ntype = "cronjob"\n')
    said = subprocess.run([DIST / "loitsut", "lint", tmp_path], capture_output=True, text=True, timeout=30).stderr
    kinds = [table["properties"]["type"]["const"] for table in schema("layer")["definitions"]["Resource"]["oneOf"]]
    assert f"the types are {', '.join(kinds)}" in said


def test_a_misspelt_key_does_not_fit() -> None:
    for file in written(LINT / "misspelt-key"):
        fits = validator(kind_of(file)).is_valid(tomllib.loads(file.read_text()))
        assert fits == (kind_of(file) == "profile"), file


def test_a_choice_may_be_a_template() -> None:
    worker = {"type": "command", "command": ["/x"], "restart": "{{ params.restart }}"}
    assert validator("layer").is_valid({"worker": worker})
    assert not validator("layer").is_valid({"worker": worker | {"restart": "never"}})


def test_user_data_fits_as_it_is_and_not_with_any_other_key() -> None:
    fits = validator("userdata")
    fits.validate(A_DOCUMENT)
    for key in ("", "agent", "launch", "bundle", "worker", "driver", "lease"):
        other = copy.deepcopy(A_DOCUMENT)
        (other[key] if key else other)["misspelt"] = 1
        assert not fits.is_valid(other), key
    for key in ("loitsut", "profile"):
        assert not fits.is_valid({name: value for name, value in A_DOCUMENT.items() if name != key})


@pytest.mark.parametrize("folder", [REPO / "profiles", LINT / "misspelt-key"], ids=lambda folder: folder.name)
def test_taplo_agrees(folder: Path, tmp_path: Path) -> None:
    for kind in ("layer", "profile"):
        (tmp_path / f"{kind}.json").write_text(json.dumps(schema(kind)))
    for file in written(folder):
        url = (tmp_path / f"{kind_of(file)}.json").as_uri()
        done = subprocess.run(
            [VENV / "bin/taplo", "check", "--no-auto-config", "--schema", url, file], capture_output=True, text=True,
            timeout=30, cwd=tmp_path,
        )
        assert (done.returncode == 0) == (folder == REPO / "profiles" or kind_of(file) == "profile"), done.stderr
