#!/usr/bin/python3
"""Writes reference.md from what `loitsut schema` prints, and thus from the types that read the files: `make docs`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

HERE = Path(__file__).parent
AGENT = HERE.parent / "dist/loitsut"

# The keys that every resource may have.
COMMON = ("when", "early", "description")

# Definitions of layers that have another heading.
ANCHORS = {"Resource": "resource-types", "Worker": "the-worker"}

INTRODUCTION = """\
# Reference

Every key of profiles, layers and user-data, with its type, what holds where it is left out, and what it means. The guide is
in [profiles.md](profiles.md) and [user-data.md](user-data.md). Unknown keys are errors. Editors get the same by `loitsut schema layer`,
`profile` and `userdata`. This page is made by `make docs`.
"""


class Page:
    """The text of one kind of file, and the tables that it needs."""

    def __init__(self, kind: str, anchors: dict[str, str] | None = None) -> None:
        done = subprocess.run([AGENT, "schema", kind], capture_output=True, text=True, check=True)
        self.root: Schema = json.loads(done.stdout)
        self.definitions: dict[str, Schema] = self.root.get("definitions", {})
        self.anchors = anchors or {}

    def table(self, schema: Schema, *, but: tuple[str, ...] = ()) -> str:
        """The keys of an object."""
        required = schema.get("required", [])
        lines = ["| key | type | unless said | what |", "|---|---|---|---|"]
        for key, value in schema["properties"].items():
            if key not in but:
                held = "**required**" if key in required else default(value)
                lines.append(f"| `{key}` | {self.type_of(value)} | {held} | {self.meaning(value)} |")
        return "\n".join(lines)

    def meaning(self, value: Schema) -> str:
        """What is said of a key, and of each word that it can be."""
        words = [f"`{word['const']}`: {word['description']}" for word in self.words(value) if "description" in word]
        return " ".join([cell(value.get("description", "")), *map(cell, words)])

    def words(self, value: Schema) -> list[Schema]:
        """The words that a value is one of, if it is."""
        for form in [value, *value.get("anyOf", []), *value.get("allOf", [])]:
            form = self.definitions.get(name_of(form), form)
            if all("const" in word for word in form.get("oneOf", [{}])):
                return form["oneOf"]
            if "enum" in form:
                return [{"const": word} for word in form["enum"]]
        return []

    def type_of(self, value: Schema) -> str:
        """The type in a few words, with links to what has more to say."""
        if words := self.words(value):
            return " or ".join(f"`{word['const']}`" for word in words)
        if name := name_of(value):
            return self.type_of_definition(name)
        if forms := value.get("anyOf"):
            return " or ".join(self.type_of(form) for form in forms)
        match value.get("type"):
            case "array":
                return f"list of {self.type_of(value['items'])}"
            case "object" if "additionalProperties" in value and "properties" not in value:
                return f"table of {self.type_of(value['additionalProperties'])}"
            case str(plain):
                return f"`{json.dumps(value['const'])}`" if "const" in value else plain
        return "any"

    def type_of_definition(self, name: str) -> str:
        schema = self.definitions[name]
        inline = "anyOf" in schema or (schema.get("type") == "object" and "properties" not in schema)
        return self.type_of(schema) if inline and name != "ParamValue" else f"[{name}](#{self.anchors.get(name, name.lower())})"

    def tables(self, *, but: tuple[str, ...] = ()) -> list[str]:
        """Every definition with keys of its own."""
        return [
            f"### {name}\n\n{schema.get('description', '')}\n\n{self.table(schema)}"
            for name, schema in self.definitions.items() if "properties" in schema and name not in but
        ]

    def values(self) -> dict[str, str]:
        """Every definition of a text of some form."""
        named = {name: schema for name, schema in self.definitions.items() if schema.get("type") == "string"}
        named |= {name: self.definitions[name] for name in ("ParamValue",) if name in self.definitions}
        return {name: schema.get("description", "") for name, schema in named.items()}


def name_of(value: Schema) -> str:
    """The definition that a schema refers to."""
    references = [value, *value.get("allOf", [])]
    return next((form["$ref"].rsplit("/", 1)[1] for form in references if "$ref" in form), "")


def default(value: Schema) -> str:
    held = value.get("default")
    return "" if held in (None, [], {}) else f"`{json.dumps(held)}`"


def cell(text: str) -> str:
    """Text that can stand in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def page() -> str:
    """The whole page."""
    layer, profile, userdata = Page("layer", ANCHORS), Page("profile"), Page("userdata")
    types = layer.definitions["Resource"]["oneOf"]
    common = {"type": "object", "properties": {key: types[0]["properties"][key] for key in COMMON}}
    resources = [
        f"### {table['properties']['type']['const']}\n\n{table.get('description', '')}\n\n"
        f"{layer.table(table, but=('type', *COMMON))}"
        for table in types
    ]
    worker = layer.definitions["Worker"]
    values = {**layer.values(), **profile.values(), **userdata.values()}
    listed = [f"<a id=\"{name.lower()}\"></a>**{name}**: {cell(what)}\n" for name, what in sorted(values.items())]
    return "\n\n".join([
        INTRODUCTION.rstrip(),
        f"## Profile\n\nThe file `NAME.toml`.\n\n{profile.table(profile.root)}",
        f"## Layer\n\nThe file `layers/NAME.toml`.\n\n{layer.table(layer.root)}",
        *layer.tables(but=("Resource", "Worker")),
        f"## Resource types\n\nA `[[resource]]` has a `type`, the keys of that type, and may have\n\n{layer.table(common)}",
        *resources,
        f"## The worker\n\n{worker['description']} `type` is `\"command\"`.\n\n{layer.table(worker, but=('type',))}",
        f"## User-data\n\n{userdata.root['description']}\n\n{userdata.table(userdata.root)}",
        *userdata.tables(),
        "## Values\n",
    ]) + "\n" + "\n".join(listed)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "reference.md").write_text(page())
