"""The bakery: a file per builder, and here what they share."""

from pathlib import Path
from typing import Any

from buildbot.plugins import steps, util

HERE = Path(__file__).parents[1]

# One directory for each bake, on the master: what it made, for people and for the builders that come after.
SHELF = util.Interpolate("artifacts/%(prop:bake)s")


def script(name: str, *arguments: Any, **options: Any) -> list[Any]:
    """Steps that send a script of scripts/ to the worker, and run it there."""
    return [
        steps.FileDownload(name=f"send {name}", mastersrc=str(HERE / "scripts" / name), workerdest=name, mode=0o755),
        steps.ShellCommand(name=name, command=[f"./{name}", *arguments], haltOnFailure=True, **options),
    ]


def fetch(file: str) -> Any:
    """A step that takes a file, by the property that names it, from the shelf."""
    source = util.Interpolate(f"artifacts/%(prop:bake)s/%(prop:{file})s")
    return steps.FileDownload(name=f"fetch {file}", mastersrc=source, workerdest=util.Property(file), haltOnFailure=True)


def keep(file: str, pattern: str) -> list[Any]:
    """Steps that upload out/ to the shelf, and remember in a property what the file in it is called."""
    return [
        steps.SetPropertyFromCommand(name=f"name of {file}", command=f"cd out && ls {pattern}", property=file, haltOnFailure=True),
        steps.DirectoryUpload(name=f"keep {file}", workersrc="out", masterdest=SHELF, haltOnFailure=True),
    ]


def next_builder(name: str, *properties: str) -> Any:
    """A step that sets off a builder. It is not waited for: that one needs a machine, and this one's can go."""
    passed = {key: util.Property(key) for key in ("bake", *properties)}
    return steps.Trigger(name=f"set off {name}", schedulerNames=[name], set_properties=passed, waitForFinish=False)
