//! Where a secret may stand, and that no message has one in it.
#![allow(clippy::unwrap_used, reason = "clippy sees that helpers of tests are tests only beside the code")]

use std::collections::BTreeMap;

use loitsut_profile::facts::{Binding, Facts};
use loitsut_profile::library::Library;
use loitsut_profile::param::{Overrides, ParamValue};
use loitsut_profile::resolve::{Request, Resolved, resolve};
use loitsut_profile::resource::Resource;

const SECRET: &str = "hunter2 \"quoted\"";

fn overrides() -> Overrides {
    let text = |text: &str| ParamValue::String(text.to_owned());
    let user_data = [("token", text(SECRET)), ("pin", ParamValue::Integer(4711))];
    let user_data = user_data.map(|(name, value)| (name.to_owned(), value)).into();
    Overrides { user_data, ..Overrides::default() }
}

fn resolve_with(profile: &str, layer: &str, overrides: &Overrides) -> Result<Resolved, String> {
    let layer = format!("[params.token]\nsecret = true\n[params.pin]\nsecret = true\ntype = 'integer'\n{layer}");
    let files = [("p.toml", profile), ("layers/a.toml", &layer), ("t", "x {{ params.token | int }}\n")];
    let files: BTreeMap<_, _> = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    let (library, facts, binding) = (Library::of_bundle(&files), Facts::sample(), Binding::sample());
    let request = Request { library: &library, profile: "p", overrides, facts: &facts, binding: Some(&binding) };
    resolve(&request).map_err(|errors| {
        let shown = format!("{errors}\n{errors:?}");
        for secret in ["hunter2", "quoted", "4711", "sample-password"] {
            assert!(!shown.contains(secret), "{secret} is in:\n{shown}");
        }
        errors.to_string()
    })
}

fn resolved(resource: &str) -> Result<Resolved, String> {
    resolve_with("layers = ['a']\n", &format!("[[resource]]\n{resource}"), &overrides())
}

fn refused(resource: &str, parts: &[&str]) {
    let message = resolved(resource).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in:\n{message}");
    }
}

#[test]
fn a_secret_stands_only_where_it_stays_one() {
    for (resource, name, place) in [
        ("type = 'directory'\npath = '/{{ params.token }}'\n", "`params.token`", ":8:13"),
        ("type = 'packages'\napt = ['gcc={{ params.pin }}']\n", "`params.pin`", ":8:16"),
        ("type = 'command'\ncommand = ['x', '{{ worker.password }}']\n", "`worker.password`", ":8:21"),
        ("type = 'command'\ncommand = ['x', '{{ worker | tojson }}']\n", "`worker`", ":8:21"),
        ("type = 'command'\ncommand = ['x']\nunless = ['{{ params.token }}']\n", "`params.token`", ":9:15"),
        ("type = 'command'\ncommand = ['x']\ntimeout = '{{ params.token }}'\n", "`params.token`", ":9:15"),
        ("type = 'symlink'\npath = '/x'\ntarget = '{{ params.token }}'\n", "`params.token`", ":9:14"),
        ("type = 'user'\nname = 'x'\nshell = '/{{ params.token }}'\n", "`params.token`", ":9:14"),
        ("type = 'service'\nname = 'x'\nunit = 'Environment={{ params.token }}'\n", "`params.token`", ":9:24"),
        ("type = 'venv'\npath = '/{{ params.token }}'\nrequirements = []\n", "`params.token`", ":8:13"),
    ] {
        refused(resource, &[&format!("{name} is secret"), &format!("layers/a.toml{place}"), "a secret can stand in"]);
    }
    for resource in [
        "type = 'directory'\npath = '/x'\nwhen = \"params.token != ''\"\n",
        "type = 'command'\ncommand = ['x']\nenvironment = { TOKEN = '{{ params.token }}' }\n",
        "type = 'command'\nscript = 'echo $LOITSUT_PARAM_TOKEN'\n",
        "type = 'venv'\npath = '/x'\nrequirements = ['x @ https://{{ params.pin }}@example.org/x']\n",
    ] {
        resolved(resource).unwrap();
    }
}

#[test]
fn a_file_with_a_secret_is_private() {
    let file = |more: &str| format!("type = 'file'\npath = '/x'\ncontent = '{{{{ params.token }}}}'\n{more}");
    let mode = |more: &str| match &resolved(&file(more)).unwrap().resources[0].resource {
        Resource::File(file) => file.mode.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(mode(""), 0o600);
    assert_eq!(mode("mode = '0640'\n"), 0o640);
    refused(&file("mode = '0644'\n"), &["by the mode 0644 others", "layers/a.toml:10:8", "mode = \"0600\""]);
}

#[test]
fn no_message_quotes_a_secret() {
    refused(
        "type = 'venv'\npath = '/x'\nrequirements = '/{{ params.token }}'\n",
        &["the value of `requirements` is not valid", "layers/a.toml:9"],
    );
    refused("type = 'venv'\npath = '/x'\nrequirements = ['-{{ params.token }}']\n", &["`requirements` is not valid"]);
    refused("type = 'file'\npath = '/x'\nsource = 't'\ntemplate = true\n", &["template: ", " t:1:21"]);
    refused("type = 'file'\npath = '/x'\ncontent = '{{ params.token | int }}'\n", &["template: ", "layers/a.toml:9"]);
    refused("type = 'file'\npath = '/x'\ncontent = '{{ worker.password[0:] }}'\n", &["slices", "not supported"]);
    let file = "type = 'file'\npath = '/x'\ncontent = '{{ params.pin }}'\n";
    refused(&format!("{file}[[resource]]\n{file}replace = true\nmode = '0640'\n"), &["conflict", "mode: 0640"]);
    refused(
        &format!("{file}[[resource]]\ntype = 'file'\npath = '/x'\ncontent = 'y'\nmode='0600'\n"),
        &["content: ***"],
    );
}

#[test]
fn a_secret_is_given_by_user_data_only() {
    let none = Overrides::default();
    let error = resolve_with("layers = ['a']\nparams.token = 'hunter2'\n", "", &none).unwrap_err();
    assert!(error.contains("`token` is secret") && error.contains("p.toml:2:16"), "{error}");
    let with =
        |declared: &str| resolve_with("layers = ['a']\n", &format!("[params.other]\nsecret = true\n{declared}"), &none);
    let error = with("default = 'hunter2'\n").unwrap_err();
    assert!(error.contains("`other` is secret, and has a default") && error.contains("layers/a.toml:8:11"), "{error}");
    with("default = ''\n[[resource]]\ntype = 'file'\npath = '/x'\ncontent = '{{ params.other }}'\n").unwrap();
    let command_line = BTreeMap::from([("pin".to_owned(), "hunter2".to_owned())]);
    let error = resolve_with("layers = ['a']\n", "", &Overrides { command_line, ..none }).unwrap_err();
    assert!(error.contains("`pin` is secret"), "{error}");
}

#[test]
fn no_debug_shows_a_secret() {
    let resolved = resolved(
        "type = 'file'\npath = '/x'\ncontent = '{{ params.token }}'\n[[resource]]\ntype = 'venv'\npath = '/v'\n\
         requirements = ['x @ https://{{ params.pin }}@example.org/x']\n",
    );
    let shown = format!("{:?} {:?}", resolved.unwrap(), overrides());
    assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
}

#[test]
fn a_script_names_a_secret_by_the_whole_variable() {
    let environment =
        |script: &str| match &resolved(&format!("type = 'command'\nscript = '{script}'\n")).unwrap().resources[0]
            .resource
        {
            Resource::Command(command) => command.environment.keys().cloned().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
    assert_eq!(environment("echo ${LOITSUT_PARAM_PIN}"), ["LOITSUT_PARAM_PIN"]);
    assert_eq!(environment("env | grep LOITSUT_PARAM_; echo $MY_LOITSUT_PARAM_PIN"), [""; 0]);
    refused(
        "type = 'command'\nscript = 'echo $LOITSUT_PARAM_TOKE'\n",
        &["undefined parameter `toke`", "layers/a.toml:8:17", "did you mean `token`?"],
    );
}
