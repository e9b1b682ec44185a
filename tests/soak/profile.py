"""A profile with every resource type that needs no running systemd, and what of its end state may differ."""

import re

# Each command leaves a line in /srv/log for each time that it has run.
LAYER = """\
[[resource]]
type = "packages"
apt = ["lt-plain", "lt-conf", "lt-recommends"]
hold = true

[[resource]]
type = "group"
name = "builders"
gid = 2345

[[resource]]
type = "user"
name = "builder"
groups = ["builders", "mail"]
home = "/srv/home/builder"
shell = "/bin/bash"
ssh_authorized_keys = ["ssh-ed25519 AAAA one@example"]

[[resource]]
type = "directory"
path = "/srv/deep/er/folder"
mode = "2775"
owner = "builder"
group = "builders"

[[resource]]
type = "directory"
path = "/srv/log"
mode = "1777"

[[resource]]
type = "file"
path = "/srv/deep/er/folder/file"
content = "cpus are many\\n"
mode = "0640"
owner = "builder"

[[resource]]
type = "file"
path = "/etc/lt-large"
source = "files/large"

[[resource]]
type = "symlink"
path = "/srv/link"
target = "deep/er/folder"

[[resource]]
type = "command"
script = "echo once >>/srv/log/once"

[[resource]]
type = "command"
command = ["sh", "-c", "echo user >>/srv/log/user"]
user = "builder"

[[resource]]
type = "command"
script = "echo begun >>/srv/log/guarded; mkdir -p /srv/made"
unless = ["test", "-d", "/srv/made"]

[[resource]]
type = "git"
url = "/srv/origin"
revision = "v2"
path = "/srv/checkout"

[[resource]]
type = "service"
name = "lt-soak"
unit = "[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n"
enabled = true

[[resource]]
type = "command"
script = "echo last >>/srv/log/last"
"""

FILES = {
    "soak.toml": 'layers = ["soak"]\n',
    "layers/soak.toml": LAYER,
    "files/large": "".join(f"line {number} of a file that takes several writes\n" for number in range(20000)),
}

# Commands without a guard: what each leaves a line in, and how a message names it.
ONCE = {"once": "command echo once", "user": "command sh", "last": "command echo last"}

# What may differ, and why.
MAY_DIFFER = [re.compile(pattern) for pattern in [
    r"^/run(/|$)",  # gone after a reboot
    r"^/srv/log(/|$)",  # compared by itself: how often each command has run
    r"^/var/lib/loitsut/commands/\.loitsut-",  # half of a record, where a person then wrote the whole of it
    r"^/var/log/",  # times
    r"^/var/cache/(apt|debconf|ldconfig)/",  # caches, with times in them
    r"^/var/lib/apt/(lists|extended_states|periodic)",  # times of the package lists
    r"^/var/lib/loitsut/package-lists\.json$",  # the same
    r"^/etc/(passwd|shadow|group|gshadow|subuid|subgid)\.\d+$",  # its lock in the making, of a useradd that was killed
    r"^/etc/\.pwd\.lock$",  # made by whoever comes first
    r"-$|-old$",  # the copy that passwd and dpkg keep of what was before
    r"^/var/lib/dpkg/tmp\.ci(/|$)",  # of a dpkg that was killed; the next one that unpacks something clears it
    r"^/var/lib/dpkg/(lock|triggers/Lock|available)",  # locks
    r"^/srv/checkout/\.git/(index|logs/.*|FETCH_HEAD|ORIG_HEAD)$",  # times of files and of the checkout
    r"^/srv/checkout/\.git/objects(/|$)",  # the same objects, packed or not
    r"^/etc/loitsut/",  # what the test itself put there
]]
