"""A Buildbot worker whose name, password and master stand in a file that loitsut writes for this launch."""

import json

from buildbot_worker.bot import Worker
from twisted.application import service

with open("/run/loitsut/worker/buildbot.json") as file:
    launch = json.load(file)
host, _, port = launch["master"].rpartition(":")

application = service.Application("buildbot-worker")
worker = Worker(
    host.strip("[]"),  # [2001:db8::1]:9989
    int(port),
    launch["name"],
    launch["password"],
    basedir="/var/lib/buildbot-worker",
    keepalive=60,
    umask=0o022,
    # SIGHUP asks the master for no more builds, and the worker ends with the one that runs.
    allow_shutdown="signal",
)
worker.setServiceParent(application)
