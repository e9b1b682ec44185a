"""The .rpm, of the source tarball."""

from buildbot.plugins import util

from . import fetch, keep, next_builder, script

NAME = "rpm"
WORKERS = ["rpm-1"]

FACTORY = util.BuildFactory([
    fetch("tarball"),
    *script("rpm.sh", util.Property("tarball")),
    *keep("package", "hello-boost-*.rpm"),
    next_builder("install-rpm", "package"),
])
