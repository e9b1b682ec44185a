"""What trees are made of beside the base tree: a package archive, Python, uv; each made once in a run."""

import shutil
from pathlib import Path

from lab.paths import BASE, VENV

from . import repository, rpms
from .tree import tree

PROXY = "etc/apt/apt.conf.d/01proxy"


def debian(layer: Path, apt_port: int, base: Path = BASE) -> Path:
    """Debian's archive through the package proxy, its lists read."""
    with tree(base=base, keep=layer) as made:
        made.put(f"/{PROXY}", f'Acquire::http::Proxy "http://127.0.0.1:{apt_port}";\n')
        made.script("apt-get --quiet update")
    return layer


def archive(layer: Path) -> Path:
    """An archive of our own instead of Debian's, its lists read."""
    repository.make(layer / repository.INSIDE.lstrip("/"))
    _program(Path(__file__).with_name("hold-lock"), layer)
    with tree(keep=layer) as made:
        made.script("rm /etc/apt/sources.list.d/*")
        made.put("/etc/apt/sources.list", repository.SOURCES)
        made.script("apt-get --quiet update")
    return layer


def redhat(layer: Path, apt_port: int) -> Path:
    """dnf, rpm and an os-release of Fedora, with a repository of our own."""
    rpms.make(layer / rpms.INSIDE.lstrip("/"))
    _program(Path(__file__).with_name("hold-lock"), layer)
    with tree(keep=layer) as made:
        made.put(f"/{PROXY}", f'Acquire::http::Proxy "http://127.0.0.1:{apt_port}";\n')
        made.script(
            "apt-get --quiet update; apt-get --quiet --yes --no-install-recommends install dnf dnf-plugins-core rpm\n"
            "rm -f /etc/os-release; printf 'ID=fedora\\nVERSION_ID=41\\n' >/etc/os-release\n"
            "mkdir -p /etc/rpm /etc/yum.repos.d; echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros.dbpath\n"
            "mkdir -p /etc/dnf/vars; echo 41 >/etc/dnf/vars/releasever; echo '[main]\nenabled=0' >/etc/dnf/plugins/local.conf; rpm --initdb"
        )
        made.put("/etc/yum.repos.d/own.repo", rpms.REPOSITORY)
    return layer


def python(layer: Path, debian: Path) -> Path:
    """Python as distributions have it, with pip in a package of its own."""
    with tree(debian, keep=layer) as made:
        made.script("DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install --no-install-recommends python3-venv")
    return layer


def uv(layer: Path) -> Path:
    """uv, as people install it."""
    return _program(VENV / "bin/uv", layer)


ORIGIN = """\
export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=n@example.org GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
export GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@example.org GIT_COMMITTER_DATE=2026-01-01T00:00:00Z
git init --quiet --initial-branch=main /srv/origin
cd /srv/origin
echo one >file
git add .
git commit --quiet --message one
git tag v1
echo two >file
echo new >added
git add .
git commit --quiet --message two
git tag --annotate --message v2 v2
git checkout --quiet --orphan other
git commit --quiet --message other
git checkout --quiet main
git update-server-info
"""

# A web server that knows nothing of git, and one path that wants a password.
SERVE = """\
#!/usr/bin/python3
import http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/secret"):
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="ours"')
        self.end_headers()
    def log_message(self, *_):
        pass
os.chdir("/srv")
server = http.server.HTTPServer(("127.0.0.1", 18418), Handler)
if os.fork() == 0:
    os.setsid()
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    os.dup2(1, 2)
    server.serve_forever()
"""


def git(layer: Path, python: Path, debian: Path) -> Path:
    """git, a repository whose commits always have the same ids, and `serve`, which gives it to the web."""
    with tree(debian, python, keep=layer) as made:
        made.script("DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install --no-install-recommends git")
        made.script(ORIGIN)
        made.put("/usr/local/bin/serve", SERVE)
        made.script("chmod 755 /usr/local/bin/serve")
    return layer


def _program(file: Path, layer: Path) -> Path:
    target = layer / "usr/local/bin" / file.name
    target.parent.mkdir(parents=True)
    shutil.copy(file, target)
    return layer
