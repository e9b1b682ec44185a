"""What lies over the base tree: git with a repository, and a package archive of our own."""

from pathlib import Path

from tables import layers as made


def layers(folder: Path, apt_port: int) -> list[Path]:
    """Make them there."""
    debian = made.debian(folder / "debian", apt_port)
    python = made.python(folder / "python", debian)
    git = made.git(folder / "git", python, debian)
    return [debian, python, git, made.archive(folder / "archive")]
