//! The profile language as its users meet it: files in, a resolved profile or a message out.
#![allow(clippy::unwrap_used, reason = "clippy sees that helpers of tests are tests only beside the code")]

use std::collections::BTreeMap;

use loitsut_profile::facts::{Binding, Facts};
use loitsut_profile::library::Library;
use loitsut_profile::names::LayerName;
use loitsut_profile::param::{Overrides, ParamValue};
use loitsut_profile::resolve::{Request, Resolved, resolve};
use loitsut_profile::resource::{Content, Resource};
use loitsut_profile::{diagnostic::Diagnostics, lint, order};

fn library(files: &[(&str, &str)]) -> Library {
    let files: BTreeMap<_, _> = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    Library::of_bundle(&files)
}

fn resolve_with(
    files: &[(&str, &str)],
    binding: Option<&Binding>,
    overrides: &Overrides,
) -> Result<Resolved, Diagnostics> {
    let library = library(files);
    let facts = Facts::sample();
    resolve(&Request { library: &library, profile: "p", overrides, facts: &facts, binding })
}

fn resolved(files: &[(&str, &str)]) -> Resolved {
    resolve_with(files, Some(&Binding::sample()), &Overrides::default()).unwrap()
}

fn refused(files: &[(&str, &str)]) -> String {
    resolve_with(files, Some(&Binding::sample()), &Overrides::default()).unwrap_err().to_string()
}

/// A profile of one layer `a`.
fn one(layer: &str) -> [(&str, &str); 2] {
    [("p.toml", "layers = [\"a\"]\n"), ("layers/a.toml", layer)]
}

fn titles(resolved: &Resolved) -> Vec<String> {
    order::steps(&resolved.resources).iter().map(|step| step.resource.title()).collect()
}

fn contains_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn what_is_required_comes_first_and_each_layer_once() {
    let layer = |requires: &str| format!("requires = {requires}\n[[resource]]\ntype = 'command'\nscript = 'true'\n");
    let resolved = resolved(&[
        ("p.toml", "layers = [\"d\", \"b\"]"),
        ("layers/a.toml", &layer("[]")),
        ("layers/b.toml", &layer("['a']")),
        ("layers/c.toml", &layer("['a']")),
        ("layers/d.toml", &layer("['c', 'b']")),
    ]);
    let names: Vec<_> = resolved.resources.iter().map(|planned| planned.layer.as_str()).collect();
    assert_eq!(names, ["a", "c", "b", "d"]);
}

#[test]
fn packages_are_one_transaction_after_what_is_early() {
    let resolved = resolved(&[
        ("p.toml", "layers = [\"a\", \"b\"]"),
        (
            "layers/a.toml",
            "[[resource]]\ntype = 'file'\npath = '/x'\ncontent = ''\n[[resource]]\ntype = 'packages'\napt = ['gcc']\n\
             [[resource]]\ntype = 'file'\npath = '/late'\ncontent = '{{ worker.name }}'\n",
        ),
        (
            "layers/b.toml",
            "[[resource]]\ntype = 'packages'\napt = ['make', 'gcc']\n[[resource]]\ntype = 'packages'\nearly = true\napt = ['ca']\n",
        ),
    ]);
    assert_eq!(titles(&resolved), ["packages ca", "packages gcc make", "file /x", "file /late"]);
}

#[test]
fn without_a_launch_the_bind_phase_is_left_out_and_named() {
    let layer = "[params.token]\nsecret = true\n[[resource]]\ntype = 'file'\npath = '/a'\ncontent = '{{ launch.id }}'\n\
                 [[resource]]\ntype = 'command'\nscript = 'curl $LOITSUT_PARAM_TOKEN'\n\
                 [[resource]]\ntype = 'directory'\npath = '/d'\nwhen = 'worker.name == \"x\"'\n\
                 [[resource]]\ntype = 'directory'\npath = '/e'\n";
    let resolved = resolve_with(&one(layer), None, &Overrides::default()).unwrap();
    assert_eq!(titles(&resolved), ["directory /e"]);
    let left: Vec<_> = resolved.left_out.iter().map(|left| (left.kind.as_str(), left.place.line())).collect();
    assert_eq!(left, [("file", 3), ("command", 7), ("directory", 10)]);
}

#[test]
fn values_come_from_the_default_the_profile_the_user_data_and_the_command_line() {
    let layer =
        "[params.v]\ndefault = 'default'\n[[resource]]\ntype = 'file'\npath = '/{{ params.v }}'\ncontent = ''\n";
    let mut files = one(layer);
    let mut overrides = Overrides::default();
    let path = |files: &[(&str, &str)], overrides: &Overrides| titles(&resolve_with(files, None, overrides).unwrap());
    assert_eq!(path(&files, &overrides), ["file /default"]);
    files[0].1 = "layers = ['a']\nparams.v = 'profile'\n";
    assert_eq!(path(&files, &overrides), ["file /profile"]);
    overrides.user_data.insert("v".into(), ParamValue::String("user-data".into()));
    assert_eq!(path(&files, &overrides), ["file /user-data"]);
    overrides.command_line.insert("v".into(), "line".into());
    assert_eq!(path(&files, &overrides), ["file /line"]);
}

#[test]
fn values_never_change_the_structure_of_a_file() {
    let hostile = "\"\n[[resource]]\ntype = \"command\"\n$(reboot) `x` {{ worker.password }} '";
    let mut overrides = Overrides::default();
    overrides.user_data.insert("v".into(), ParamValue::String(hostile.into()));
    let layer = "[params.v]\ndefault = ''\n[[resource]]\ntype = 'file'\npath = '/f'\ncontent = '<{{ params.v }}>'\n";
    let resolved = resolve_with(&one(layer), None, &overrides).unwrap();
    assert_eq!(resolved.resources.len(), 1);
    let Resource::File(file) = &resolved.resources[0].resource else { panic!() };
    assert_eq!(file.content, Content::Bytes(format!("<{hostile}>").into_bytes()));
}

#[test]
fn when_decides_and_verbatim_texts_stay() {
    let layer = "[[resource]]\ntype = 'directory'\npath = '/yes'\nwhen = \"os.family == 'debian' and cpus >= 4\"\n\
                 [[resource]]\ntype = 'directory'\npath = '/no'\nwhen = \"arch == 'aarch64'\"\n\
                 [[resource]]\ntype = 'command'\nscript = 'echo {{ not.a.template }} ${#x}'\n";
    assert_eq!(titles(&resolved(&one(layer))), ["directory /yes", "command echo {{ not.a.template }} ${#x}"]);
}

#[test]
fn messages_point_at_the_place_and_suggest() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[[resource]]\ntype = 'file'\npath = '/x'\ncontnet = ''\n",
            &["unknown key `contnet`", "layers/a.toml:4:1", "^^^^^^^", "did you mean `content`?"],
        ),
        (
            "[[resource]]\ntype = 'file'\npath = 'etc/x'\ncontent = ''\n",
            &["`etc/x` is not an absolute path", "layers/a.toml:3:8", "^^^^^^^"],
        ),
        (
            "[[resource]]\ntype = 'flie'\n",
            &["unknown resource type `flie`", "layers/a.toml:2:8", "did you mean `file`?"],
        ),
        ("[[resorce]]\ntype = 'file'\n", &["unknown key `resorce`", "did you mean `resource`?", "layers/a.toml:1"]),
        ("[[resource]]\npath = '/x'\n", &["the key `type` is missing", "layers/a.toml:1"]),
        (
            "[params.boost]\ndefault = ''\n[[resource]]\ntype = 'file'\npath = '/{{ params.bost }}'\ncontent = ''\n",
            &["undefined parameter `bost`", "layers/a.toml:5:13", "did you mean `boost`?"],
        ),
        (
            "[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = \"os.famly == 'debian'\"\n",
            &["`os` has no `famly`", "layers/a.toml:4", "did you mean `family`?"],
        ),
        (
            "[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = 'cpus >='\n",
            &["template: syntax error", "layers/a.toml:4"],
        ),
        ("[[resource]]\ntype = 'directory'\npath = '/{{ osid }}'\n", &["unknown variable `osid`", "layers/a.toml:3"]),
        ("[params.x]\n", &["parameter `x` has no value", "layers/a.toml:1", "`default`"]),
        ("[params.x]\ndefault = 3\ntype = 'string'\n", &["parameter `x` is string, and was given integer"]),
        ("[params.X-Y]\ndefault = 3\n", &["parameter `X-Y`: a name is made of a-z"]),
        (
            "[[resource]]\ntype = 'packages'\ndnf = ['gcc']\n",
            &["the key `apt` is missing", "layers/a.toml:1", "`apt = []`"],
        ),
        ("[[resource]]\ntype = 'packages'\napt = ['gcc g++']\n", &["`gcc g++` is not a package", "layers/a.toml:3"]),
        ("[[resource]]\ntype = 'file'\npath = '/x'\nsource = '../secret'\n", &["has `..` in it", "layers/a.toml:4"]),
        ("[[resource]]\ntype = 'file'\npath = '/x'\nsource = 'gone'\n", &["no file `gone`", "layers/a.toml:4"]),
        (
            "[[resource]]\ntype = 'file'\npath = '/x'\nmode = 420\ncontent = ''\n",
            &["invalid type: integer", "layers/a.toml:4"],
        ),
        (
            "[[resource]]\ntype = 'file'\npath = '/x'\nurl = 'http://x'\n",
            &["`url` without `sha256`", "layers/a.toml:4"],
        ),
        ("requires = ['bb']\n", &["there is no layer `bb`", "layers/a.toml:1:13"]),
        ("x = [\n", &["layers/a.toml:"]),
        (
            "[worker]\ntype = 'command'\ncommand = ['twistd']\n",
            &["`twistd` is not an absolute path", "layers/a.toml:3"],
        ),
    ];
    for (layer, parts) in cases {
        contains_all(&refused(&one(layer)), parts);
    }
}

#[test]
fn a_cycle_is_shown_with_every_place_it_goes_through() {
    let message = refused(&[
        ("p.toml", "layers = ['a']"),
        ("layers/a.toml", "requires = ['b']"),
        ("layers/b.toml", "requires = ['c']"),
        ("layers/c.toml", "requires = ['a']"),
    ]);
    contains_all(
        &message,
        &["a -> b -> c -> a", "layers/c.toml:1:13", "layers/b.toml", "layers/a.toml", "third layer"],
    );
}

#[test]
fn a_conflict_names_both_places() {
    let files = [
        ("p.toml", "layers = ['a', 'b']"),
        ("layers/a.toml", "[[resource]]\ntype = 'file'\npath = '/x'\ncontent = 'one'\n"),
        ("layers/b.toml", "\n[[resource]]\ntype = 'file'\npath = '//x'\ncontent = 'two'\n"),
    ];
    contains_all(&refused(&files), &["conflict", "path /x", "layers/a.toml:1", "layers/b.toml:2"]);
    let alike = [files[0], files[1], ("layers/b.toml", files[1].1)];
    assert_eq!(resolved(&alike).resources.len(), 2, "wanting the same twice is no conflict");
}

#[test]
fn lint_reports_conflicts_only_where_both_can_hold() {
    let layer = |second: &str| {
        let entry = |when: &str, mode: &str| {
            format!("[[resource]]\ntype = 'directory'\npath = '/x'\nmode = '{mode}'\n{when}\n")
        };
        entry("when = \"arch == 'x86_64'\"", "0755") + &entry(second, "0700")
    };
    let found =
        |second| lint::profile(&library(&[("p.toml", "layers = ['a']"), ("layers/a.toml", &layer(second))]), "p").len();
    assert_eq!(found("when = \"arch == 'aarch64'\""), 0);
    assert_eq!(found("when = \"arch == 'x86_64'\""), 1);
    assert_eq!(found(""), 1);
}

#[test]
fn a_layer_alone_is_checked_with_values_made_up() {
    let layer = "[params.where]\n[[resource]]\ntype = 'file'\npath = '{{ params.where }}'\ncontent = ''\n";
    let name: LayerName = "a".parse().unwrap();
    assert_eq!(lint::layer(&library(&one(layer)), &name).len(), 0);
    let wrong = layer.replace("content", "contnet");
    assert_eq!(lint::layer(&library(&one(&wrong)), &name).len(), 1);
}

#[test]
fn a_layer_cannot_use_a_parameter_that_it_does_not_require() {
    let message = refused(&[
        ("p.toml", "layers = ['a', 'b']"),
        ("layers/a.toml", "[params.v]\ndefault = ''\n"),
        ("layers/b.toml", "[[resource]]\ntype = 'file'\npath = '/x'\ncontent = '{{ params.v }}'\n"),
    ]);
    contains_all(&message, &["`v` belongs to a layer that this one does not require", "layers/a.toml:1", "`requires`"]);
}

#[test]
fn parameters_declared_in_two_ways_are_refused() {
    let message = refused(&[
        ("p.toml", "layers = ['a', 'b']"),
        ("layers/a.toml", "[params.v]\ndefault = 'x'\n"),
        ("layers/b.toml", "[params.v]\ndefault = 'y'\n"),
    ]);
    contains_all(&message, &["`v` is declared in two ways", "layers/b.toml:1", "layers/a.toml:1"]);
}

#[test]
fn scripts_get_parameters_but_no_secret_that_they_do_not_name() {
    let layer = "[params.token]\nsecret = true\n[params.list]\ndefault = ['a', 'b']\n[[resource]]\ntype = 'command'\nscript = 'true'\n";
    let mut overrides = Overrides::default();
    overrides.user_data.insert("token".into(), ParamValue::String("hunter2".into()));
    let resolved = resolve_with(&one(layer), Some(&Binding::sample()), &overrides).unwrap();
    let Resource::Command(command) = &resolved.resources[0].resource else { panic!() };
    assert_eq!(command.environment, BTreeMap::from([("LOITSUT_PARAM_LIST".to_owned(), "a\nb".to_owned())]));
    assert!(resolved.secrets.iter().any(|secret| secret.reveal() == "hunter2"));
}

#[test]
fn every_error_is_reported_at_once() {
    let layer = "[[resource]]\ntype = 'file'\npath = 'x'\ncontent = ''\n[[resource]]\ntype = 'file'\npath = 'y'\ncontent = ''\n";
    contains_all(&refused(&one(layer)), &["`x` is not", "`y` is not", "2 errors"]);
}

#[test]
fn a_chain_without_end_is_refused() {
    let layer = |n: usize| (format!("layers/l{n}.toml"), format!("requires = ['l{}']\n", n + 1));
    let mut files: Vec<(String, String)> = (0..5000).map(layer).collect();
    files.push(("p.toml".into(), "layers = ['l0']\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    contains_all(&refused(&files), &["too many layers", "layers/l63.toml:1:13", "1 error"]);
}
