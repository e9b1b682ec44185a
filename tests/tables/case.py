"""The cases, as they are written in the .toml files beside this one."""

import json
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A system before, a layer, the system after."""

    name: str
    table: str  # the file it is in
    on: str  # where it is played; one for the whole file
    layer: str  # the text of layers/case.toml; @SERVER@ is the URL of a web server, @MIRROR@ and others see mirror.py
    files: dict[str, str] = field(default_factory=dict)  # others of the bundle
    params: dict[str, str] = field(default_factory=dict)  # for the command line
    user_data: dict | None = None  # with it, the bind phase is applied too
    before: str = ""  # a shell script that makes the system as it is found
    after: str = ""  # one that succeeds if the system is as it should be, also after an error
    changes: bool = True  # false: there is nothing to be done
    error: list[str] | None = None  # it cannot be done, and the message has these texts
    untouched: bool = False  # with an error: nothing has changed
    says: list[str] = field(default_factory=list)  # what `plan` or `apply` print
    never_says: list[str] = field(default_factory=list)  # what neither prints

    def __str__(self) -> str:
        return f"{self.table}: {self.name}"

    def with_words(self, words: dict[str, str]) -> "Case":
        """The same with these words replaced by what they stand for, wherever they are."""
        def filled(value: Any) -> Any:
            if isinstance(value, str):
                for word, meaning in words.items():
                    value = value.replace(word, meaning)
            elif isinstance(value, list):
                value = [filled(item) for item in value]
            elif isinstance(value, dict):
                value = {key: filled(item) for key, item in value.items()}
            return value

        return Case(**{field.name: filled(getattr(self, field.name)) for field in fields(self)})

    def profiles(self) -> dict[str, str]:
        """The files of a folder of profiles: the profile `case` with the layer `case`."""
        return {"case.toml": 'layers = ["case"]\n', "layers/case.toml": self.layer.lstrip("\n"), **self.files}

    def document(self) -> str | None:
        """The user-data, if the case has some."""
        return None if self.user_data is None else json.dumps({"loitsut": 1, "profile": "case", **self.user_data})


def load() -> list[Case]:
    """All cases, those that need the same surroundings together."""
    cases = [case for file in sorted(FOLDER.glob("*.toml")) for case in _read(file)]
    return sorted(cases, key=lambda case: case.on)


def _read(file: Path) -> list[Case]:
    table = tomllib.loads(file.read_text())
    return [Case(table=file.stem, **{"on": table["on"]} | case) for case in table["case"]]
