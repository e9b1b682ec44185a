"""Points of a run, drawn from a seed; what becomes of a run that is disturbed at each."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .profile import ONCE
from .world import Run, World, world

FULL = ("bytes", "inodes", "call")  # how a disk is full: really, of files, or for one call of each program


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbs, and what it takes."""

    end: dict[str, list]
    calls: int
    bytes: int
    inodes: int


@dataclass
class Results:
    """What came of all points."""

    seed: int
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    indeterminate: int = 0
    disturbed: int = 0

    def note(self, point: str, words: str) -> None:
        self.lines.append(f"{point}: {words}")

    def summary(self) -> str:
        return (f"seed {self.seed}: {len(self.lines)} points, {self.disturbed} of them disturbed a run, "
                f"{self.indeterminate} commands of unknown end reported, {len(self.failures)} failures")


def undisturbed(layers: list[Path]) -> Undisturbed:
    """Let a run go through, counted."""
    with world(*layers) as one:
        used, inodes = one.used("used"), one.used("iused")
        run = one.apply_and_kill(None)
        assert run.status == 0, run.said
        return Undisturbed(one.look(), run.calls, one.used("used") - used, one.used("iused") - inodes)


def spread(seed: int, count: int, most: int) -> Iterator[int]:
    """One point of each of so many equal parts of 1 to `most`."""
    draw = random.Random(seed)
    for part in range(count):
        first, last = part * most // count + 1, max((part + 1) * most // count, part * most // count + 1)
        yield draw.randint(first, last)


def kill(layers: list[Path], seed: int, count: int, tell: Callable[[str], None] = print) -> Results:
    """Kill the agent and all its programs at so many points of a run, and start it again."""
    whole, results = undisturbed(layers), Results(seed)
    for call in spread(seed, count, whole.calls):
        with world(*layers) as one:
            run = one.apply_and_kill(call)
            _end(one, run, f"killed after call {call} of {whole.calls}", whole, results, tell)
    return results


def fill(layers: list[Path], seed: int, count: int, tell: Callable[[str], None] = print) -> Results:
    """Let the disk be full at so many points of a run, then give it room, and start again."""
    whole, results = undisturbed(layers), Results(seed)
    for number, thousandth in enumerate(spread(seed, count, 950)):
        how = FULL[number % len(FULL)]
        with world(*layers) as one:
            run, point = _filled(one, how, thousandth, whole)
            if run.status != 0 and not ("No space left" in run.said and "/" in run.said):
                results.failures.append(f"{point}: the message does not say so:\n{run.said}")
            one.resize(size="50%", nr_inodes=0)
            _end(one, run, point, whole, results, tell)
    return results


def _filled(one: World, how: str, thousandth: int, whole: Undisturbed) -> tuple[Run, str]:
    if how == "bytes":
        size = one.used("used") + whole.bytes * thousandth // 1000
        one.resize(size=size)
    elif how == "inodes":
        one.resize(nr_inodes=one.used("iused") + whole.inodes * thousandth // 1000)
    else:
        call = 1 + thousandth // 10
        return one.apply_with_error(call), f"call {call} of each program without room"
    return one.apply(), f"room for {thousandth / 10} % of the {how}"


def _end(
    one: World, run: Run, point: str, whole: Undisturbed, results: Results, tell: Callable[[str], None]
) -> None:
    """Start again until done, and compare."""
    results.disturbed += run.status != 0
    try:
        one.until_done()
        _compare(one, whole)
        words = "as undisturbed"
    except AssertionError as error:
        words = "NOT as undisturbed"
        said = "\n--\n".join(one.said)
        results.failures.append(f"{point}: {error}\nit said:\n{said}")
    results.indeterminate += one.indeterminate
    asked = f", {one.indeterminate} commands of unknown end" if one.indeterminate else ""
    results.note(point, words + asked)
    tell(results.lines[-1])


def _compare(one: World, whole: Undisturbed) -> None:
    found = one.look(list(whole.end))
    wrong = [f"{path}: {whole.end.get(path, 'nothing')} undisturbed, {found.get(path, 'nothing')} here"
             for path in sorted(whole.end.keys() | found.keys()) if whole.end.get(path) != found.get(path)]
    assert not wrong, "\n".join(wrong)
    runs = one.runs()
    assert runs == dict.fromkeys(ONCE, 1), f"commands have run {runs} times"
