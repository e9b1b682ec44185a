"""A test install of the .rpm on a clean machine: nothing of what built it is there."""

from buildbot.plugins import util

from . import fetch, script

NAME = "install-rpm"
WORKERS = ["clean-rpm-1"]

FACTORY = util.BuildFactory([fetch("package"), *script("install.sh", util.Property("package"), "hello-boost")])
