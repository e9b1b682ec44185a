//! Messages that say exactly which part of which file is wrong, and lint's way with values it does not know.
#![allow(clippy::unwrap_used, reason = "clippy sees that helpers of tests are tests only beside the code")]

use std::collections::BTreeMap;

use loitsut_profile::diagnostic::Diagnostics;
use loitsut_profile::library::Library;
use loitsut_profile::lint;

fn library(files: &[(&str, &str)]) -> Library {
    Library::of_bundle(
        &files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect::<BTreeMap<_, _>>(),
    )
}

fn found(layer: &str) -> String {
    let files = library(&[("p.toml", "layers = ['a']\n"), ("layers/a.toml", layer), ("t", "one\n{{ os.famly }}\n")]);
    Diagnostics(lint::profile(&files, "p")).to_string()
}

fn found_in_layer(layer: &str) -> String {
    Diagnostics(lint::layer(&library(&[("layers/a.toml", layer)]), &"a".parse().unwrap())).to_string()
}

#[test]
fn the_caret_is_at_the_part_that_is_wrong() {
    let cases: &[(&str, &[&str])] = &[
        ("[resource]\ntype = 'file'\n", &["layers/a.toml:1:1", "write `[[resource]]`"]),
        ("[[resource]]\ntype = 'packages'\napt = ['gcc', 'gcc g++']\n", &["`gcc g++` is not a package", ":3:15"]),
        ("[[resource]]\ntype = 'packages'\napt = []\noptional = ['-x']\n", &["`-x` is not a package", ":4:13"]),
        ("[[resource]]\ntype = 'venv'\npath = '/x'\nrequirements = '/abs'\n", &["`/abs` is absolute", ":4:16"]),
        ("[worker]\ntype = 'shell'\n", &["unknown worker type `shell`", ":2:8", "`command`"]),
        ("[worker]\ntype = 'command'\nearly = true\ncommand = ['/x']\n", &["never `early`", ":3:1"]),
        ("[[resource]]\ntype = 'directory'\npath = '/a: b/{{ 1 + }}'\n", &["template: syntax error", ":3:22"]),
        ("[[resource]]\ntype = 'directory'\npath = 'params.x/{{ params.x }}'\n", &["undefined parameter `x`", ":3:21"]),
        (
            "[[resource]]\ntype = 'file'\npath = '/x'\nsource = 't'\ntemplate = true\n",
            &["`os` has no `famly`", " t:2:4", "did you mean `family`?"],
        ),
        (
            "[[resource]]\ntype = 'directory'\npath = 'a: b'\n",
            &["`a: b` is not an absolute path\n", "begin it with `/`"],
        ),
        (
            "[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = 'os.version.major'\n",
            &["`os.version` has no `major`", ":4"],
        ),
        (
            "[[resource]]\ntype = 'command'\ncommand = ['x']\nenvironment = { 'A-B' = '' }\n",
            &["\"A-B\" cannot be", ":4:15"],
        ),
        (
            "[[resource]]\ntype = 'user'\nname = 'x'\nssh_authorized_keys = [\"a\\nb\"]\n",
            &["more than one line", ":4:23"],
        ),
        ("[[resource]]\ntype = 'user'\nname = 'Xy'\n", &["`Xy` is not a name for a new user", ":3:8"]),
        ("[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = \"osЙamily == 'x' and 1\"\n", &["syntax error", ":4:"]),
        ("[[resource]]\ntype = 'directory'\npath = '/{{ osЙ }}'\n", &["syntax error", ":3:"]),
        ("[[resource]]\ntype = 'file'\npath = '/x'\nurl = 'ftp://x'\n", &["http or https URL", ":4:7"]),
        ("[params.x]\ndefault = 'a'\nchoices = ['a', 1]\n", &["one of its choices is integer"]),
        ("[params.x]\ndefault = 'a'\nchoices = []\n", &["has no choices"]),
        (
            "[[resource]]\ntype = 'service'\nname = 'x'\nmasked = true\n[[resource]]\ntype = 'service'\nname = 'x'\nrunning = true\n",
            &["conflict", "running: true", "running: false"],
        ),
    ];
    for (layer, parts) in cases {
        let message = found(layer);
        for part in *parts {
            assert!(message.contains(part), "no {part:?} in:\n{message}");
        }
    }
}

#[test]
fn only_what_is_made_of_an_unknown_value_is_excused() {
    let layer = "[params.where]\n[[resource]]\ntype = 'file'\npath = '{{ params.where }}'\ncontent = ''\n";
    assert!(found_in_layer(layer).ends_with("0 errors"));
    for (more, part) in [
        ("mode = '9'\n", "`9` is not a mode"),
        ("owner = '{{ params.wher }}'\n", "undefined parameter `wher`"),
        ("contnet = '{{ params.where }}'\n", "unknown key `contnet`"),
        ("[[resource]]\ntype = 'directory'\npath = 'x'\n", "`x` is not an absolute path"),
    ] {
        let message = found_in_layer(&format!("{layer}{more}"));
        assert!(message.contains(part) && message.ends_with("1 error"), "{message}");
    }
}

#[test]
fn made_up_values_are_not_alike() {
    let file = |name: &str| format!("[[resource]]\ntype = 'file'\npath = '/{{{{ {name} }}}}'\ncontent = '{name}'\n");
    let layer: String = ["launch.name", "launch.id", "worker.name", "params.a", "params.b"].map(file).concat();
    let message = found_in_layer(&format!("[params.a]\n[params.b]\n{layer}"));
    assert!(message.ends_with("0 errors"), "{message}");
}

#[test]
fn descriptions_stand_everywhere_and_owners_may_have_capitals() {
    let layer = "description = ''\n[[resource]]\ntype = 'directory'\npath = '/x'\nowner = 'DOMAIN.User'\ndescription = 'why'\n\
                 [worker]\ntype = 'command'\ncommand = ['/x']\ndescription = 'why'\nwhen = 'cpus > 1'\n";
    assert!(found(layer).ends_with("0 errors"), "{}", found(layer));
}

#[test]
fn a_toml_file_in_a_folder_is_no_profile() {
    let files = library(&[("p.toml", ""), ("files/config.toml", ""), ("layers/a.toml", "")]);
    assert_eq!(files.profiles().collect::<Vec<_>>(), ["p"]);
}
