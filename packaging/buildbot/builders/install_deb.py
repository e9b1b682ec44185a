"""A test install of the .deb on a clean machine: nothing of what built it is there."""

from buildbot.plugins import util

from . import fetch, script

NAME = "install-deb"
WORKERS = ["clean-deb-1"]

FACTORY = util.BuildFactory([fetch("package"), *script("install.sh", util.Property("package"), "hello-boost")])
