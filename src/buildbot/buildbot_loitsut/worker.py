"""A latent worker whose machine comes from loitsut's driver."""

from __future__ import annotations

import hashlib
import re
import secrets as random
import socket
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot import config
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.util.latent import CompatibleLatentWorkerMixin
from buildbot.worker.latent import AbstractLatentWorker, States

from .driver import Driver
from .request import NoWorker, Request
from .transcript import Transcript

_log = Logger()

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

# Build properties, and where they stand in the driver's words on a request.
_PROPERTIES = {
    "loitsut_request": ("id",),
    "loitsut_pool": ("pool",),
    "loitsut_profile": ("profile",),
    "loitsut_profile_digest": ("profile_digest",),
    "loitsut_launch": ("launch", "id"),
    "loitsut_instance": ("instance", "id"),
    "loitsut_image": ("instance", "image"),
    "loitsut_type": ("instance", "type"),
    "loitsut_zone": ("instance", "zone"),
    "loitsut_price": ("instance", "price"),
}


class LoitsutLatentWorker(CompatibleLatentWorkerMixin, AbstractLatentWorker):
    """A worker on a machine that is made for it, and ends with its build.

    docs/buildbot.md has the options, and what becomes of a build when something fails.
    """

    def checkConfig(
        self, name: str, pool: Any, driver: str, token: Any = None, profile: Any = None, params: Any = None, secrets: Any = None,
        lease: Any = None, ca: str | None = None, owner: str | None = None, master_address: str | None = None, **kwargs: Any,
    ) -> None:
        """Refuse what could never work; renderables are taken on trust until a build renders them."""
        for what, value in {"name": name, "pool": pool, "owner": owner}.items():
            if isinstance(value, str) and not _ID.fullmatch(value):
                config.error(f"LoitsutLatentWorker {name!r}: {what} {value!r} is not 1 to 64 letters, digits, '-', '_' and '.'")
        if not re.match(r"https?://[^/]+/?$", driver):
            config.error(f"LoitsutLatentWorker {name!r}: driver {driver!r} is not like https://ci.example.org:7878")
        if "password" in kwargs:
            config.error(f"LoitsutLatentWorker {name!r}: leave `password` out, it is a new one by each launch")
            del kwargs["password"]
        super().checkConfig(name, None, **_with_defaults(kwargs))

    @inlineCallbacks
    def reconfigService(
        self, name: str, pool: Any, driver: str, token: Any = None, profile: Any = None, params: Any = None, secrets: Any = None,
        lease: Any = None, ca: str | None = None, owner: str | None = None, master_address: str | None = None, **kwargs: Any,
    ) -> Any:
        """Take new options; a machine that is up keeps its password, and is ended at the next build that wants another one."""
        self._wanted = {"pool": pool, "profile": profile, "params": params or {}, "secrets": secrets or {}, "lease": lease or {}}
        self._master_address = master_address
        self._driver = yield Driver.getService(self.master, driver, owner or owner_of(self.master.name), ca)
        token = yield self.renderSecrets(token)
        self._driver.use_token(token)
        yield super().reconfigService(name, self.getRandomPass(), **_with_defaults(kwargs))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request: Request | None = None
        self._facts: dict[str, Any] = {}
        self._blameless = False

    @inlineCallbacks
    def startService(self) -> Any:
        """Nothing is adopted after a restart (``attached`` refuses it), so what was left by the last master is ended."""
        yield super().startService()
        self._driver.spawn(self._end_leftovers())

    def renderWorkerProps(self, build: Any) -> Deferred[Any]:
        """What a build wants: a machine that was made for something else does not fit."""
        return build.render(self._wanted)

    @inlineCallbacks
    def isCompatibleWithBuild(self, build_props: Any) -> Any:
        """Whether a build can use the machine that is up; if not, and nobody works on it, it is ended at once."""
        build_props.master = self.master  # Buildbot leaves it out here, and secrets are rendered by it
        try:
            fits = yield super().isCompatibleWithBuild(build_props)
        except Exception:
            # Thrown from here, it would hold up the builder for ever. The build itself is told, by `start_instance`.
            _log.failure("loitsut: what {name} is to become cannot be rendered", name=self.name)
            fits = False
        if not fits and self.state == States.SUBSTANTIATED and not self.building:
            self._deferwaiter.add(self._soft_disconnect())
        return fits

    @inlineCallbacks
    def start_instance(self, build: Any) -> Any:
        """Ask for a machine, and return: what becomes of it is heard in the background, where a cancel need not wait for it."""
        self._blameless = False
        self.password = self._generate_random_password()
        yield self.registration.update(self, self.master.config)
        wanted = yield self._rendered(build)
        worker = {"master": self._master_address or self._own_address(), "name": self.name, "password": self.password}
        self._request = Request(
            self._driver, {**wanted, "name": self.name, "worker": worker}, Transcript(build),
            on_change=lambda request: self._learn(request, build), on_end=self._no_worker,
        )
        self._request.start()
        return True

    @inlineCallbacks
    def _rendered(self, build: Any) -> Any:
        """What this build wants; a parameter without a value is left to the profile's default."""
        try:
            wanted = yield self.renderWorkerPropsOnStart(build)
        except Exception as error:
            self._blameless = True
            what = f"what {self.name} is to become cannot be rendered: {type(error).__name__}: {error}"
            raise LatentWorkerCannotSubstantiate(what) from error
        params = {name: value for name, value in wanted["params"].items() if value is not None}
        return {key: value for key, value in {**wanted, "params": params}.items() if value}

    @inlineCallbacks
    def stop_instance(self, fast: bool = False) -> Any:
        """Want the machine no more. The driver sees to its end, whatever happens to this master."""
        request, self._request = self._request, None
        self._facts = {}
        self.resetWorkerPropsOnStop()
        if request:
            yield Deferred.fromCoroutine(request.end())

    @inlineCallbacks
    def check_instance(self) -> Any:
        """The fallback, should the event stream miss something; what it finds is dealt with as if the stream had told it."""
        if self._request:
            yield Deferred.fromCoroutine(self._request.refresh())
        return True, ""

    def setupProperties(self, props: Any) -> None:
        """The machine that is up, for builds that reuse it; a new one is not known yet."""
        super().setupProperties(props)
        if self.substantiated:
            for name, value in self._facts.items():
                props.setProperty(name, value, "Worker")

    def putInQuarantine(self) -> None:
        """Not for a failure of the profile: another profile on this name is to start at once."""
        if not self._blameless:
            super().putInQuarantine()

    def buildFinished(self, wfb: Any) -> None:
        """The build that failed is over, and has asked for quarantine for the last time."""
        self._blameless = False
        super().buildFinished(wfb)

    def _generate_random_password(self) -> str:
        return random.token_urlsafe(24)

    def _own_address(self) -> str:
        return f"{socket.getfqdn()}:{self.registration.getPBPort()}"

    def _learn(self, request: dict[str, Any], build: Any) -> None:
        for name, path in _PROPERTIES.items():
            value: Any = request
            for key in path:
                value = (value or {}).get(key)
            if value is not None and self._facts.get(name) != value:
                self._facts[name] = value
                build.setProperty(name, value, "Worker")

    def _no_worker(self, why: NoWorker) -> None:
        """The request has ended by itself."""
        if self.state == States.SUBSTANTIATED:
            # Its connection may look alive for hours: the build is to be retried now.
            _log.warn("loitsut: the machine of {name} is gone: {why}", name=self.name, why=why)
            self._deferwaiter.add(self._soft_disconnect())
        elif self.state == States.SUBSTANTIATING_STARTING:
            self._blameless = why.permanent
            if why.permanent:
                self.resetQuarantine()
            kind = LatentWorkerCannotSubstantiate if why.permanent else LatentWorkerFailedToSubstantiate
            self.stopMissingTimer()
            self._substantiation_failed(Failure(kind(str(why))))

    async def _end_leftovers(self) -> None:
        """What was there before this master began."""
        name = self.name
        left = await self._driver.insist(f"list what is left of {name}", lambda: self._driver.of_worker(name))
        for request in left:
            if not self._request or request != self._request.id:
                _log.info("loitsut: ending {request}, left of {name} by an earlier master", request=request, name=name)
                self._driver.delete_surely(request)


def owner_of(master: str) -> str:
    """A master's name (``host:/its/directory``) as an owner: safe in paths and logs, and not another master's."""
    digest = hashlib.sha256(master.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', master)[:50].strip('-')}-{digest}"


def _with_defaults(kwargs: dict[str, Any]) -> dict[str, Any]:
    """A clean machine for each build, and one build at a time."""
    return {"build_wait_timeout": 0, "max_builds": 1, **kwargs}
