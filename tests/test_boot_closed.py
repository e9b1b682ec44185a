"""The metadata service closed to the build: to the worker and its root, over IPv4 and IPv6, but not to the agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from boots import Machine, machine, user_data
from lab.instance import HOST

WORKER = "loitsut-worker.service"
V4, V6 = "169.254.169.254", "fd00:ec2::254"

# What a build might have, and the asking itself.
TOOLS = """\
[[resource]]
type = "file"
early = true
path = "/etc/apt/apt.conf.d/01proxy"
content = 'Acquire::http::Proxy "http://{host}:{port}";'

[[resource]]
type = "packages"
apt = ["curl", "python3-minimal", "sudo"]

[[resource]]
type = "file"
path = "/etc/sudoers.d/games"
mode = "0440"
content = "games ALL=(ALL) NOPASSWD: ALL\\n"
"""

# Who asks what by what means, and the status of the answer: one line for each. 000 is curl's word for none.
ASK = """
token=$(cat /srv/token)
ask() { echo "asked: $1 $(shift; "$@" 2>/dev/null)"; }
for who in "" sudo; do
    for at in 169.254.169.254 '[fd00:ec2::254]'; do
        get="$who curl --globoff --silent --max-time 5 --output /dev/null --write-out %{http_code}"
        ask "${who:-games} $at without-token" $get http://$at/latest/user-data
        ask "${who:-games} $at with-token" $get --header "X-aws-ec2-metadata-token: $token" http://$at/latest/user-data
        ask "${who:-games} $at new-token" \\
            $get --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" http://$at/latest/api/token
        ask "${who:-games} $at python" $who python3 /srv/ask.py "$at" "$token"
    done
done
echo all asked
exec sleep infinity
"""

PYTHON = """\
import socket, sys
at, token = sys.argv[1].strip("[]"), sys.argv[2]
try:
    with socket.create_connection((at, 80), 5) as s:
        s.sendall(f"GET /latest/user-data HTTP/1.0\\r\\nX-aws-ec2-metadata-token: {token}\\r\\n\\r\\n".encode())
        print(s.recv(100).split()[1].decode())
except OSError:
    print("000")
"""

# A token by nothing but bash, since the base tree has no curl.
TOKEN = """\
exec 3<>/dev/tcp/169.254.169.254/80
printf 'PUT /latest/api/token HTTP/1.0\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 3600\\r\\n\\r\\n' >&3
tail -1 <&3
"""

# Asks once the rules are gone; a filtered connection is not refused, it is lost.
LATER = """
until [ -e /srv/go ]; do sleep 0.1; done
timeout 3 bash -c "echo >/dev/tcp/169.254.169.254/80" && echo in || echo out
exec sleep infinity
"""

# Until all rules are there again.
RULES_AGAIN = "until [ $( (ip -4 rule; ip -6 rule) | grep -c '^[12]:' ) = 6 ]; do sleep 0.05; done"

# A container on this machine: what it sends is forwarded, not sent, by the machine itself.
CONTAINER = """\
trap 'ip netns delete inner; umount /mnt' EXIT
mount -t proc proc /mnt  # that of the instance itself cannot be written to
echo 1 >/mnt/sys/net/ipv4/ip_forward
ip netns add inner
ip link add outer type veth peer name inner netns inner
ip address add 192.0.2.1/30 dev outer && ip link set outer up
ip -n inner address add 192.0.2.2/30 dev inner && ip -n inner link set inner up
ip -n inner route add default via 192.0.2.1
ip netns exec inner bash -c 'echo 2>&1 >/dev/tcp/169.254.169.254/80' || true
"""


# As Fedora (1) and Ubuntu (2) set it on every link. In a container /proc/sys is not for writing, in a machine it is.
CHECKED = """\
mount -t proc proc /mnt && mount --bind /mnt/sys/net /proc/sys/net
cd /proc/sys/net/ipv4/conf && for link in *; do [ $link = all ] || echo {mode} >$link/rp_filter; done; echo {all} >all/rp_filter
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, baked: Path) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine"), baked) as one:
        one.status()
        yield one


@pytest.fixture(autouse=True)
def opened(booted: Machine) -> Iterator[None]:
    """Each test begins as a machine does: with nothing closed."""
    yield
    assert booted.boot(stays(metadata="open"))["state"] == "ready"


def stays(**keys: object) -> bytes:
    """User-data of a worker that does nothing."""
    return user_data("[worker]\ntype = 'command'\ncommand = ['/bin/sleep', 'infinity']\n", **keys)


def rules(booted: Machine) -> list[str]:
    """The agent's routing rules."""
    lines = booted.run("sh", "-c", "ip -4 rule; ip -6 rule").splitlines()
    return [line for line in lines if line.split(":")[0] in ("1", "2")]


def answers(booted: Machine, asker: str, access: str) -> dict[str, str]:
    """What each way to ask was answered, in a boot with this access."""
    status = booted.boot(user_data(asker, metadata=access))
    assert status["state"] == "ready", status
    lines = [entry["MESSAGE"].split() for entry in booted.journal(f"_SYSTEMD_UNIT={WORKER}")]
    return {" ".join(words[1:4]): words[4] for words in lines if words[0] == "asked:"}


def test_neither_the_worker_nor_its_root_get_anything(booted: Machine, apt_port: int) -> None:
    tools = TOOLS.format(host=HOST, port=apt_port)
    asker = (
        f"{tools}\n[worker]\ntype = 'command'\nuser = 'games'\nroot = true\ncommand = ['/bin/bash', '/srv/ask']\n"
        f"ready.log = 'all asked'\n[[resource]]\ntype = 'file'\npath = '/srv/ask'\ncontent = '''{ASK}'''\n"
        f"[[resource]]\ntype = 'file'\npath = '/srv/ask.py'\ncontent = '''{PYTHON}'''\n"
        f"[[resource]]\ntype = 'file'\npath = '/srv/token'\ncontent = '{token(booted)}'\n"
    )
    opened = answers(booted, asker, "open")
    assert len(opened) == 16
    assert {ask: answer for ask, answer in opened.items() if answer != "200"} == {
        ask: "401" for ask in opened if ask.endswith("without-token")
    }
    assert answers(booted, asker, "closed") == dict.fromkeys(opened, "000")
    assert "Permission denied" in booted.run("bash", "-c", f"echo 2>&1 >/dev/tcp/{V4}/80 || true")


def token(booted: Machine) -> str:
    """A token that holds."""
    return booted.run("bash", "-c", TOKEN).strip()


def test_a_container_on_the_machine_gets_nothing(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    # Prohibited, says the machine, and not merely lost.
    assert "No route to host" in booted.run("bash", "-euc", CONTAINER)


def test_the_agent_still_gets_through(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    booted.run("mv", "/etc/loitsut/agent.toml", "/etc/loitsut/away")
    try:
        # The user-data of the service itself is empty: to hear that is to have asked.
        for at in (f"http://{V4}", f"http://[{V6}]"):
            done = booted.inside.run(
                "env", f"AWS_EC2_METADATA_SERVICE_ENDPOINT={at}", "loitsut", "plan", capture=True, timeout=60,
            )
            assert "the user-data is empty" in done.stderr
    finally:
        booted.run("mv", "/etc/loitsut/away", "/etc/loitsut/agent.toml")


@pytest.mark.parametrize(("mode", "all"), [(1, 0), (2, 0), (0, 1)])
def test_the_kernels_check_of_senders_does_not_keep_answers_from_the_agent(booted: Machine, mode: int, all: int) -> None:
    booted.run("sh", "-euc", CHECKED.format(mode=mode, all=all))
    try:
        test_the_agent_still_gets_through(booted)
    finally:
        booted.run("sh", "-c", "for s in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$s; done; umount /proc/sys/net /mnt")


def test_an_agent_that_starts_again_sets_nothing_twice(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    before = rules(booted)
    assert len(before) == 6 and sum("prohibit" in rule for rule in before) == 3
    booted.run("systemctl", "stop", "loitsut.service")
    assert rules(booted) == before, "closed also while no agent runs"
    booted.run("systemctl", "start", "loitsut.service")
    booted.wait("LOITSUT_PHASE=watch", times=2)
    assert rules(booted) == before


def test_rules_that_are_taken_away_are_set_again(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    before = rules(booted)
    # As systemd-networkd does with rules that it does not know.
    booted.run("sh", "-c", "ip -4 rule delete pref 2; ip -6 rule delete pref 1")
    booted.run("sh", "-c", RULES_AGAIN)
    assert sorted(rules(booted)) == sorted(before)
    booted.run("sh", "-c", f"until journalctl --cursor='{booted.began}' | grep -q 'somebody took'; do sleep 0.05; done")


def test_a_later_launch_opens_it(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    assert booted.boot(stays())["state"] == "ready"
    assert rules(booted) == []
    assert token(booted) != ""


def test_what_cannot_be_closed_starts_no_worker(booted: Machine) -> None:
    # An address of the machine itself is found before any rule that can be set.
    booted.run("ip", "address", "add", f"{V4}/32", "dev", "lo")
    try:
        status = booted.boot(stays(metadata="closed"))
    finally:
        booted.run("ip", "address", "delete", f"{V4}/32", "dev", "lo")
    assert (status["state"], status["failure"]["class"]) == ("failed", "launch")
    message = status["failure"]["message"]
    assert "not closed" in message and f"{V4}:80" in message and "routing rules" in message
    assert V6 not in message
    assert booted.show(WORKER, "ActiveState", "ExecMainPID")[0] != "active"
    assert booted.journal(f"_SYSTEMD_UNIT={WORKER}", "_COMM=sleep") == []


def test_a_missing_filter_is_told(booted: Machine) -> None:
    # A unit that allows all: the kernel without the filter, as far as the worker can tell.
    directory = f"/etc/systemd/system/{WORKER}.d"
    booted.run("sh", "-c", f"mkdir -p {directory} && printf '[Service]\\nIPAddressAllow=any\\n' >{directory}/60-allow.conf")
    try:
        assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    finally:
        booted.run("rm", "-r", directory)
    assert "IPAddressDeny= has no effect" in booted.told() and V6 in booted.told()


def test_the_filter_alone_closes_it_too(booted: Machine) -> None:
    layer = f"[worker]\ntype = 'command'\ncommand = ['/bin/bash', '-c', '''{LATER}''']\n"
    assert booted.boot(user_data(layer, metadata="closed"))["state"] == "ready"
    booted.run("systemctl", "stop", "loitsut.service")  # it would set the rules again
    booted.run("sh", "-c", "for i in 1 2; do ip -4 rule delete pref $i; ip -6 rule delete pref $i; ip -6 rule delete pref $i; done")
    assert rules(booted) == [] and token(booted) != ""
    booted.run("touch", "/srv/go")
    booted.wait(f"_SYSTEMD_UNIT={WORKER}", "MESSAGE=out")


def test_clean_opens_it_again(booted: Machine) -> None:
    assert booted.boot(stays(metadata="closed"))["state"] == "ready"
    booted.run("systemctl", "stop", "loitsut.service", "loitsut-worker.service")
    booted.run("loitsut", "clean")
    assert rules(booted) == []
