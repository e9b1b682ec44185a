"""What people read of a boot: the driver's JSON in, lines out. No I/O."""

from __future__ import annotations

import re
from typing import Any

# A build's page is no terminal: escape sequences and what else moves a cursor is shown as a dot.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def clean(text: Any) -> str:
    """One line that moves no cursor."""
    return _CONTROL.sub("·", str(text))


def request_line(request: dict[str, Any]) -> str:
    """Where a request stands."""
    line = f"request {request['id']}: {request['state']}"
    instance = request.get("instance")
    if instance:
        known = [instance.get(key) for key in ("id", "type", "image", "zone", "price")]
        line += f", on {' '.join(str(value) for value in known if value)}"
    failure = request.get("failure")
    if failure:
        line += f", after a failure ({failure['class']}): {failure['message']}"
    return clean(line)


def report_line(report: dict[str, Any]) -> str:
    """What an agent tells, by the events of docs/driver-protocol.md; new kinds come as they are."""
    kind = report.get("event")
    if kind == "step":
        line = f"[{report.get('layer', '')}] {report.get('resource', '')}: {report.get('outcome', '')}"
        if report.get("drift"):
            line += f" ({report['drift']})"
        line += f", {report.get('took', 0)} ms"
    else:
        rest = {key: value for key, value in report.items() if key not in ("event", "seq", "ago", "failure")}
        line = " ".join([str(kind), *(f"{value}" if key == kind else f"{key}={value}" for key, value in rest.items())])
    return clean(line)


def failure_lines(failure: dict[str, Any]) -> list[str]:
    """Why there is no worker: what, where, and the last lines of output."""
    lines = [f"{failure['class']}: {failure['message']}"]
    where = [f"{key} {failure[key]}" for key in ("layer", "resource") if failure.get(key)]
    if failure.get("place"):
        where.append(f"at {failure['place']}")
    if failure.get("exit_code") is not None:
        where.append(f"exit code {failure['exit_code']}")
    if where:
        lines.append(", ".join(where))
    lines += [f"  | {line}" for line in failure.get("output", [])]
    return [clean(line) for line in lines]
