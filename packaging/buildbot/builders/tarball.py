"""The source tarball, which all packages are made of."""

from buildbot.plugins import steps, util

from . import HERE, keep, next_builder, script

NAME = "tarball"
WORKERS = ["deb-1", "deb-2"]

# A real bakery begins with steps.Git(...); the few files to build come along with this example instead.
_SOURCE = sorted(path for path in (HERE / "hello").rglob("*") if path.is_file())

FACTORY = util.BuildFactory([
    steps.SetProperty(name="number of this bake", property="bake", value=util.Interpolate("%(prop:buildnumber)s")),
    *[
        steps.FileDownload(
            name=f"send {path.name}", mastersrc=str(path), workerdest=str(path.relative_to(HERE)), mode=path.stat().st_mode & 0o777,
        )
        for path in _SOURCE
    ],
    *script("tarball.sh", "hello"),
    *keep("tarball", "*.tar.gz"),
    next_builder("deb", "tarball"),
    next_builder("rpm", "tarball"),
])
