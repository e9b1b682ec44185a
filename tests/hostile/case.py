"""One hostile input, and what has to be said of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A hostile input; every text of `says` has to be in the message."""

    name: str
    says: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Received(Case):
    """User-data as it is received."""

    data: bytes


@dataclass(frozen=True)
class Written(Case):
    """Files of a folder of profiles, of which `p` is the profile."""

    files: dict[str, str | bytes]
