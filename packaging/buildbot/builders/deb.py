"""The .deb, of the source tarball."""

from buildbot.plugins import util

from . import fetch, keep, next_builder, script

NAME = "deb"
WORKERS = ["deb-1", "deb-2"]

FACTORY = util.BuildFactory([
    fetch("tarball"),
    *script("deb.sh", util.Property("tarball")),
    *keep("package", "hello-boost_*.deb"),
    next_builder("install-deb", "package"),
])
