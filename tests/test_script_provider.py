"""A provider that is a program: what it is told, and what becomes of what it says."""

import json
import subprocess
from pathlib import Path

from lab.paths import DIST

# As small as one can be: an instance is a file.
PROGRAM = """\
#!/bin/sh
cd "$(dirname "$0")/instances" || exit 78
case $1 in
start)
    read -r request
    launch=$(expr "$request" : '.*"launch":"\\([^"]*\\)"')
    [ "$(ls | wc -l)" -lt 2 ] || { echo "both places are taken" >&2; exit 75; }
    echo "$request" >"$launch"
    echo "{\\"instance\\": {\\"launch\\": \\"$launch\\", \\"id\\": \\"file-$launch\\", \\"state\\": \\"running\\"}}" ;;
stop)
    read -r request
    rm -f "$(expr "$request" : '.*"launch":"\\([^"]*\\)"')"
    echo '{}' ;;
list)
    for launch in *; do
        [ -e "$launch" ] && echo "{\\"launch\\": \\"$launch\\", \\"id\\": \\"file-$launch\\", \\"state\\": \\"running\\"}"
    done | paste -sd, | sed 's/^/{"instances": [/; s/$/]}/' ;;
*)
    echo "there is no $1" >&2; exit 64 ;;
esac
"""

CONFIG = """\
[provider.files]
type = "script"
command = ["{program}"]
timeout = "{timeout}"
[pool.p]
provider = "files"
colour = "green"
profile = "cpp"
max = 2
"""


def ask(directory: Path, verb: str, request: dict | None = None, *, program: str = PROGRAM, timeout: str = "20s"):
    """One verb: exit status, what it printed, and what it complained of."""
    (directory / "instances").mkdir(exist_ok=True)
    script, config = directory / "program", directory / "loitsut-driver.toml"
    script.write_text(program)
    script.chmod(0o755)
    config.write_text(CONFIG.format(program=script, timeout=timeout))
    ended = subprocess.run(
        [DIST / "loitsut-driver", "provider", "files", verb, "--config", config],
        input=json.dumps(request or {}), capture_output=True, text=True, timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_program_gives_instances_until_it_has_none(tmp_path: Path) -> None:
    for launch in ("a", "b"):
        status, output, _ = ask(tmp_path, "start", {"launch": launch, "pool": "p", "user_data": "e30="})
        assert status == 0 and json.loads(output)["instance"]["id"] == f"file-{launch}"
    told = json.loads((tmp_path / "instances/a").read_text())
    assert told == {"launch": "a", "name": "a", "pool": "p", "user_data": "e30=", "colour": "green"}

    status, _, words = ask(tmp_path, "start", {"launch": "c", "pool": "p"})
    assert status == 75 and "both places are taken" in words
    assert ask(tmp_path, "stop", {"launch": "a"})[0] == 0
    _, output, _ = ask(tmp_path, "list")
    assert [instance["launch"] for instance in json.loads(output)["instances"]] == ["b"]
    status, _, words = ask(tmp_path, "console", {"id": "file-b"})
    assert status == 78 and "there is no console" in words


def test_a_program_that_hangs_is_killed_and_named(tmp_path: Path) -> None:
    status, _, words = ask(tmp_path, "list", program="#!/bin/sh\nsleep 1000\n", timeout="1s")
    assert status == 1 and f"`{tmp_path}/program list` was not done after 1s, and was killed" in words


def test_an_answer_that_is_none_is_not_believed(tmp_path: Path) -> None:
    status, _, words = ask(tmp_path, "start", {"launch": "a", "pool": "p"}, program="#!/bin/sh\necho done\n")
    assert status == 1 and "its answer is not what docs/script-provider.md says" in words


def test_a_request_of_another_form_is_refused(tmp_path: Path) -> None:
    status, _, words = ask(tmp_path, "start", {"launch": "../a", "pool": "p"})
    assert status == 1 and "../a" in words and not list((tmp_path / "instances").iterdir())
