"""Package archives behind HTTP: a signed one, and some that have just been renewed."""

import contextlib
import email.utils
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import repository, rpms
from .repository import Package

OLD, NEW = Package("lt-moved"), Package("lt-moved", "2.0")


class Mirror(ThreadingHTTPServer):
    """Serves a folder. Below `moved` and `damaged` it is first what it was before it was renewed, as a mirror that is
    caught in between: until somebody has asked for a package in vain."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.renewed: set[str] = set()

    def answer(self, path: str) -> bytes | None:
        """What is there, if anything."""
        top = path.strip("/").split("/")[0]
        old = self.folder / "old" / path.lstrip("/")
        if path.endswith("_1.0_all.deb") and top in ("moved", "damaged"):
            self.renewed.add(top)
            return b"half of a package" if top == "damaged" else None
        if top not in self.renewed and old.is_file():
            return old.read_bytes()
        file = self.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        body = self.server.answer(self.path.replace("/./", "/"))
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[dict[str, str]]:
    """Serve as long as the block lasts, and yield what the words of a case stand for."""
    repository.make(folder / "signed", [Package("lt-signed"), Package("lt-plain", "0.5")])
    repository.make(folder / "files", [Package("lt-file", control={"Depends": "lt-plain"})])
    for name in ("moved", "damaged"):
        repository.make(folder / "old" / name, [OLD])
        repository.make(folder / name, [NEW])
    rpms.build(*rpms.NEEDS_PLAIN, folder / "files")
    key, fingerprint = _sign(folder / "signed")
    (folder / "key.asc").write_text(key)
    digest = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "files").iterdir()}
    server = Mirror(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "@MIRROR@": f"http://127.0.0.1:{server.server_port}",
            "@KEY@": key,
            "@FINGERPRINT@": fingerprint,
            "@SHA256_OF_FILE@": digest["lt-file_1.0_all.deb"],
            "@SHA256_OF_RPM@": digest["lt-needs-plain-1.0.rpm"],
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _sign(folder: Path) -> tuple[str, str]:
    """Sign the archive with a new key: the key, and its fingerprint."""
    index = (folder / "Packages").read_bytes()
    date = email.utils.formatdate(usegmt=True).replace("GMT", "UTC")
    sums = f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    (folder / "Release").write_text(f"Origin: nobody\nSuite: stable\nDate: {date}\nSHA256:\n{sums}")
    with tempfile.TemporaryDirectory() as home:
        def gpg(*words: str) -> str:
            command = ["gpg", "--batch", "--quiet", "--passphrase", "", *words]
            environment = {**os.environ, "GNUPGHOME": home}
            return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=environment).stdout

        gpg("--quick-generate-key", "nobody <nobody@example.org>", "ed25519", "sign", "never")
        gpg("--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))
        listed = gpg("--with-colons", "--list-keys")
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        key = gpg("--armor", "--export")
        subprocess.run(["gpgconf", "--kill", "all"], check=True, env={**os.environ, "GNUPGHOME": home})
    return key, fingerprint
