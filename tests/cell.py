"""An empty root, to run the agent in: it shows that the binary needs nothing, and keeps what it does off this machine."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.paths import DIST

SECONDS = 30
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Cell:
    """A directory with nothing but the agent in it."""

    def __init__(self, root: Path, binary: Path = DIST / "loitsut", emulator: Path | None = None) -> None:
        self.root = root
        self.program = ["/emulator", "/loitsut"] if emulator else ["/loitsut"]
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(binary, root / "loitsut")
        if emulator:
            shutil.copy(emulator, root / "emulator")

    def start(
        self, *arguments: str, under: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.Popen:
        """Start the agent in there, in an empty environment, perhaps under another program of this machine."""
        return subprocess.Popen(
            [*under, "chroot", str(self.root), *self.program, *arguments], env={"PATH": PATH, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )

    def run(self, *arguments: str, seconds: float = SECONDS, **options: Any) -> tuple[int, str]:
        """Run it to its end: exit status, and everything it printed."""
        return finish(self.start(*arguments, **options), seconds)

    def status(self) -> dict[str, Any]:
        """What a boot in there has left for `loitsut status`."""
        return json.loads((self.root / "run/loitsut/status.json").read_text())

    def write(self, path: str, content: str | bytes) -> None:
        """Put a file in there."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def finish(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """Wait for the end of what was started; it does not outlive this call."""
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output
