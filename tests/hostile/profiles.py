"""Hostile profiles and layers."""

from hostile.case import Written

PROFILE = 'layers = ["a"]\n'


def layer(text: str, *says: str, name: str, **more: str | bytes) -> Written:
    """A profile of one layer, and perhaps other files."""
    files = {"p.toml": PROFILE, "layers/a.toml": text, **more}
    return Written(name, says, files)


def resource(keys: str, *says: str, name: str, **more: str | bytes) -> Written:
    return layer(f"[[resource]]\n{keys}", *says, name=name, **more)


def chain(length: int) -> dict[str, str | bytes]:
    layers = {f"layers/a{n}.toml": f'requires = ["a{n + 1}"]\n' for n in range(length)}
    return {"p.toml": 'layers = ["a0"]\n', **layers, f"layers/a{length}.toml": ""}


CASES = [
    Written("a cycle of two", ("layers require each other: a -> b -> a", "layers/b.toml:1:13", "third layer"),
            {"p.toml": PROFILE, "layers/a.toml": 'requires = ["b"]\n', "layers/b.toml": 'requires = ["a"]\n'}),
    Written("a layer that requires itself", ("layers require each other: a -> a",),
            {"p.toml": PROFILE, "layers/a.toml": 'requires = ["a"]\n'}),
    Written("a chain of a thousand layers", ("too many layers", "64 that require one another"), chain(1000)),
    Written("a thousand and one layers", ("too many layers: at most 1000",),
            {"p.toml": f"layers = {[f'a{n}' for n in range(1001)]}\n", **{f"layers/a{n}.toml": "" for n in range(1001)}}),
    layer("[[resource]]\ntype='command'\nscript='true'\n" * 10_001, "at most 10000 resources", name="ten thousand resources"),
    layer("".join(f"[params.p{n}]\ndefault=1\n" for n in range(10_001)), "10000 parameters", name="ten thousand parameters"),
    layer("a = " + "[" * 100_000, "layers/a.toml:1", "nested too deep", name="lists without end"),
    layer("a = " + "{a=" * 100_000, "layers/a.toml:1", "nested too deep", name="tables without end"),
    layer("a" + ".a" * 100_000 + " = 1", "layers/a.toml:1", "recursion limit", name="a dotted key without end"),
    layer("[" + "a." * 100_000 + "a]", "layers/a.toml:1", "recursion limit", name="a dotted header without end"),
    layer("[[resource]\n", "layers/a.toml:1", name="a header that is not closed"),
    layer("\x1b[2J = 1\n", "layers/a.toml:1", name="an escape sequence for a key"),
    layer('"\\u001b[2J" = 1\n', "unknown key", "layers/a.toml:1", name="an escape sequence for a quoted key"),
    layer('"\\u009b2J" = 1 # \u009b2J\n', "unknown key", "layers/a.toml:1", name="an escape sequence of one character"),
    layer("x" * 1_000_000 + " = 1\n", "unknown key `xxx", "layers/a.toml:1", name="a key of a megabyte"),
    layer("".join(f"[[resource]]\ntype='file'\npath='/x'\ncontent='{n}'\n" for n in range(9000)),
          "conflict: two resources want", "200 errors or more", name="nine thousand conflicts"),
    layer("[[resource]]\ntype='nope'\n" * 9000, "unknown resource type", "200 errors or more", name="nine thousand unknown types"),
    layer("requires = []\nrequires = []\n", "duplicate key", "layers/a.toml:2", name="a key twice"),
    resource('type = "cronjob"\n', "unknown resource type `cronjob`", "layers/a.toml:2:8", name="an unknown type"),
    resource('type = "file"\npth = "/x"\n', "unknown key `pth`", "did you mean `path`?", name="an unknown key"),
    resource('type = "directory"\npath = "/srv/../etc"\n', "`/srv/../etc` has `..` in it", name="a path that climbs"),
    resource('type = "directory"\npath = "etc"\n', "`etc` is not an absolute path", name="a relative path"),
    resource('type = "directory"\npath = "/"\n', "names no file", name="the root"),
    resource('type = "directory"\npath = "/a\\u0000b"\n', "has the character '\\0' in it", name="a path with a NUL"),
    resource('type = "directory"\npath = "/a\\u001b[2Jb"\n', "has the character '\\u{1b}' in it", name="a path with an escape sequence"),
    resource(f'type = "directory"\npath = "/{"x" * 100_000}"\n', "is too long: at most 1024 bytes", name="a path of a hundred kilobytes"),
    resource(f'type = "directory"\npath = "{"/x" * 200}"\n', "and 64 parts", name="a path of two hundred parts"),
    resource('type = "file"\npath = "/x"\nsource = "../../etc/shadow"\n', "`../../etc/shadow` has `..` in it", name="a source that climbs"),
    resource('type = "file"\npath = "/x"\nsource = "/etc/shadow"\n', "`/etc/shadow` is absolute", name="an absolute source"),
    resource('type = "file"\npath = "/x"\nsource = "nothing"\n', "there is no file `nothing`", "layers/a.toml:4", name="a source that is not there"),
    resource('type = "file"\npath = "/x"\nsource = "t"\ntemplate = true\n', "`t` is not UTF-8 text", name="a binary template", t=b"\xff{{ x }}"),
    resource('type = "file"\npath = "/x"\ncontent = ""\nmode = "99999"\n', "`99999` is not a mode", "0644", name="a mode that is none"),
    resource('type = "file"\npath = "/x"\nurl = "file:///etc/shadow"\n', "this is not an http or https URL", name="a URL of a file"),
    resource('type = "file"\npath = "/x"\nurl = "https://e.org/x"\n', "`url` without `sha256`", "sha256sum", name="a download that cannot be verified"),
    resource('type = "packages"\napt = ["-o=DPkg::Pre-Invoke::=reboot"]\n', "is not a package", name="an option for a package"),
    resource('type = "packages"\napt = ["lib*"]\n', "`lib*` is not a package", name="a pattern for a package"),
    resource('type = "packages"\napt = ["gcc-"]\n', "`gcc-` is not a package", name="a package that removes"),
    resource('type = "packages"\napt = ["gcc; reboot"]\n', "is not a package", name="shell for a package"),
    resource('type = "user"\nname = "root:0:0"\n', "is not a user or group name", name="a line of passwd for a user"),
    resource('type = "user"\nname = "x"\nssh_authorized_keys = ["a\\nb"]\n', "more than one line", name="two keys in one"),
    resource('type = "service"\nname = "../../x"\n', "is not the name of a systemd unit", name="a unit that climbs"),
    resource('type = "venv"\npath = "/x"\nrequirements = ["--index-url=http://evil"]\n', "is not a requirement", name="an option for a requirement"),
    resource('type = "command"\ncommand = []\n', "`command` needs a program", name="a command of nothing"),
    resource('type = "command"\ncommand = ["x"]\nenvironment = { "A=B" = "" }\n', "cannot be a variable", name="a variable with an equals sign"),
    resource('type = "command"\ncommand = ["x"]\ntimeout = "99999999999999999999d"\n', "is longer than 3650 days", name="a time-out that overflows"),
    resource('type = "directory"\npath = "/{{ 1 + }}"\n', "template: syntax error", "layers/a.toml:3", name="a template that is broken"),
    resource('type = "directory"\npath = "/{{"\n', "template: syntax error", name="a template that is not closed"),
    resource('type = "directory"\npath = "/{{ os.famly }}"\n', "`os` has no `famly`", "did you mean `family`?", name="a field that is not there"),
    resource('type = "directory"\npath = "/{{ env.HOME }}"\n', "unknown variable `env`", name="a variable that is not there"),
    resource('type = "directory"\npath = "/{{ params }}"\n', "`params` as a whole cannot be used", name="all parameters at once"),
    resource("type = 'file'\npath = '/x'\ncontent = \"{{ ('x' * 1000000) * 1000000 }}\"\n", "template: ", name="a template that explodes"),
    resource("type = 'file'\npath = '/x'\ncontent = \"{{ range(100000000) }}\"\n", "unknown", name="a template that loops"),
    resource(f"type = 'file'\npath = '/x'\ncontent = \"{{{{ {'(' * 100_000} }}}}\"\n", "longer than 2048 bytes", name="brackets without end"),
    resource(f"type = 'directory'\npath = '/x'\nwhen = '{'not ' * 100_000} 1'\n", "longer than 2048 bytes", name="a condition without end"),
    layer("".join(f"[[resource]]\ntype='file'\npath='/f{n}'\ncontent=\"{{{{ 'x' * 1000000 }}}}\"\n" for n in range(9)),
          "make more than 8388608 bytes", name="templates that explode together"),
    resource('type = "directory"\npath = "/x"\nwhen = "os.version.major"\n', "`os.version` has no `major`", name="a condition of nothing"),
    layer("[params.x]\n", "parameter `x` has no value", "default", name="a parameter without a value"),
    layer('[params.x]\ndefault = "a"\n[params.X]\ndefault = 1\n', "a-z, 0-9 and `_`", name="a parameter with a capital"),
    layer('[params.x]\ndefault = "a"\ntype = "integer"\n', "is integer, and was given string", name="a default of another type"),
    layer('[params.x]\ndefault = "a"\nchoices = ["b"]\n', "can be \"b\"", name="a default that is no choice"),
    layer('[params.x]\nsecret = true\ndefault = "hunter2-hunter2"\n', "is secret, and has a default", "***", name="a secret in a file"),
    layer("[params.x]\nsecret = true\n[[resource]]\ntype = 'command'\ncommand = ['x', '{{ params.x }}']\n",
          "`params.x` is secret, and `command` is not", "a secret can stand in", name="a secret for an argument"),
    layer('[worker]\ntype = "command"\ncommand = ["x"]\n', "`x` is not an absolute path", name="a worker without a path"),
    layer('[worker]\ntype = "command"\ncommand = ["/x"]\nstop = { signal = "9; reboot" }\n', "is not a signal", "SIGTERM",
          name="shell for a signal"),
    layer('[worker]\ntype = "command"\ncommand = ["/x"]\nready = {}\n', "`ready` needs one of", name="a worker that is never ready"),
    Written("two workers", ("a second worker", "the first one"),
            {"p.toml": 'layers = ["a", "b"]\n'} | {
                f"layers/{name}.toml": '[worker]\ntype = "command"\ncommand = ["/x"]\n' for name in "ab"}),
    Written("two layers that differ", ("conflict: two resources want path /x differently", "leave one of them out"),
            {"p.toml": 'layers = ["a", "b"]\n'} | {
                f"layers/{name}.toml": f'[[resource]]\ntype = "file"\npath = "/x"\ncontent = "{name}"\n' for name in "ab"}),
    Written("a layer that climbs", ("`../../etc/x` has `..` in it",), {"p.toml": 'layers = ["../../etc/x"]\n'}),
    Written("a layer with an escape sequence", ("is not a layer name",), {"p.toml": 'layers = ["\\u001b[2J"]\n'}),
    Written("an unknown layer", ("there is no layer `bost`", "did you mean `boost`?"),
            {"p.toml": 'layers = ["bost"]\n', "layers/boost.toml": ""}),
    Written("a profile that is not text", ("is not UTF-8 text",), {"p.toml": b"\xff\xfe"}),
    Written("an unknown parameter", ("no layer of this profile has a parameter `y`",),
            {"p.toml": 'layers = ["a"]\n[params]\ny = 1\n', "layers/a.toml": "[params.x]\ndefault = 1\n"}),
    Written("a number for a list of layers", ("p.toml:1:10", "expected a sequence"), {"p.toml": "layers = 7\n"}),
]
