//! The variables that templates see, and the check that a template asks for none but those.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use crate::facts::{Binding, Facts, Instance, Os};
use crate::param::ParamValue;
use crate::suggest::did_you_mean;
use crate::userdata::document::{Launch, Worker};
use crate::values::{Params, Reach};

/// Variables with fields, and which; `params` has those that are declared.
const FIELDS: [(&str, &[&str]); 4] = [
    ("os", &["id", "version", "family", "codename"]),
    ("instance", &["id", "type", "region", "zone", "image", "address"]),
    ("launch", &["id", "name", "pool"]),
    ("worker", &["master", "name", "password"]),
];

/// Variables without fields.
const PLAIN: [&str; 4] = ["kernel", "arch", "cpus", "memory"];

/// When a resource can be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before anybody knows whose worker the machine will be.
    Provision,
    /// Once the launch is known: it uses `launch`, `worker` or a secret.
    Bind,
}

/// The values that templates are rendered with.
pub(crate) fn context(facts: &Facts, binding: Option<&Binding>, params: &Params) -> Value {
    let mut context: BTreeMap<&str, Value> = BTreeMap::from([
        ("os", os(&facts.os)),
        ("kernel", facts.kernel.as_str().into()),
        ("arch", facts.arch.as_str().into()),
        ("cpus", facts.cpus.into()),
        ("memory", facts.memory.into()),
        ("instance", instance(&facts.instance)),
    ]);
    let visible = params.iter().filter(|(_, param)| binding.is_some() || !param.declaration.secret);
    let given = visible.filter_map(|(name, param)| Some((name.as_str(), param_value(&param.value.as_ref()?.0))));
    context.insert("params", Value::from_pairs(given));
    if let Some(Launch { id, name, pool }) = binding.and_then(|binding| binding.launch.as_ref()) {
        context.insert("launch", texts([("id", id.as_str()), ("name", name.as_str()), ("pool", pool.as_str())]));
    }
    if let Some(Worker { master, name, password }) = binding.and_then(|binding| binding.worker.as_ref()) {
        context.insert(
            "worker",
            texts([("master", &master.to_string()), ("name", name.as_str()), ("password", password.reveal())]),
        );
    }
    Value::from_pairs(context)
}

fn os(os: &Os) -> Value {
    texts([("id", &os.id), ("version", &os.version), ("family", &os.family), ("codename", &os.codename)])
}

fn instance(instance: &Instance) -> Value {
    let Instance { id, kind, region, zone, image, address } = instance;
    texts([("id", id), ("type", kind), ("region", region), ("zone", zone), ("image", image), ("address", address)])
}

fn texts<const N: usize>(fields: [(&str, &str); N]) -> Value {
    Value::from_pairs(fields)
}

fn param_value(value: &ParamValue) -> Value {
    match value {
        ParamValue::String(text) => text.as_str().into(),
        ParamValue::Boolean(value) => (*value).into(),
        ParamValue::Integer(value) => (*value).into(),
        ParamValue::List(items) => items.iter().map(String::as_str).collect(),
    }
}

/// What is wrong with asking for a variable.
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// What one layer may ask for.
pub(crate) struct Scope<'a> {
    pub(crate) params: &'a Params,
    /// What each layer may use.
    pub(crate) reach: &'a Reach<'a>,
    /// Which of them this is, by its place in the order.
    pub(crate) layer: usize,
    /// The launch, once it is known.
    pub(crate) binding: Option<&'a Binding>,
}

impl Scope<'_> {
    /// The phase that a variable belongs to, or why a template cannot have it.
    pub(crate) fn phase_of(&self, variable: &str) -> Result<Phase, Unknown> {
        let mut parts = variable.split('.');
        let (root, field) = (parts.next().unwrap_or_default(), parts.next());
        let unknown = |message: String, help: String| Unknown { message, help };
        if let Some(part) = parts.next().or(field.filter(|_| PLAIN.contains(&root))) {
            let whole = variable.split_once(&format!(".{part}")).map_or(variable, |(whole, _)| whole);
            return Err(unknown(format!("`{whole}` has no `{part}`"), "it is a plain value, without fields".into()));
        }
        if root == "params" {
            let Some(name) = field else {
                return Err(unknown("`params` as a whole cannot be used".into(), "name one: `params.NAME`".into()));
            };
            return self.phase_of_param(name).map_err(|(message, help)| unknown(message, help));
        }
        if PLAIN.contains(&root) {
            return Ok(Phase::Provision);
        }
        let Some((_, fields)) = FIELDS.iter().find(|(name, _)| *name == root) else {
            let known = || PLAIN.into_iter().chain(FIELDS.map(|(name, _)| name)).chain(["params"]);
            let help = did_you_mean(root, known())
                .unwrap_or_else(|| format!("there are {}", known().collect::<Vec<_>>().join(", ")));
            return Err(unknown(format!("unknown variable `{root}`"), help));
        };
        match field {
            Some(field) if !fields.contains(&field) => {
                let help = did_you_mean(field, fields.iter().copied())
                    .unwrap_or_else(|| format!("`{root}` has {}", fields.join(", ")));
                Err(unknown(format!("`{root}` has no `{field}`"), help))
            }
            _ => self.phase_of_launch(root).map_err(|(message, help)| unknown(message, help)),
        }
    }

    /// Whether a variable holds a secret.
    pub(crate) fn is_secret(&self, variable: &str) -> bool {
        match variable.split_once('.') {
            Some(("params", name)) => self.params.get(name).is_some_and(|param| param.declaration.secret),
            Some(("worker", field)) => field == "password",
            _ => variable == "worker",
        }
    }

    /// Whether a parameter is the layer's own or comes with what it requires.
    pub(crate) fn can_reach(&self, param: &str) -> bool {
        self.reach.has(self.layer, param)
    }

    fn phase_of_param(&self, name: &str) -> Result<Phase, (String, String)> {
        let reachable = self.params.get(name).filter(|_| self.can_reach(name));
        match (reachable, self.params.get(name)) {
            (Some(param), _) if param.declaration.secret && self.binding.is_some() && param.value.is_none() => Err((
                format!("secret parameter `{name}` has no value"),
                format!("pass it in the user-data: `\"params\": {{ \"{name}\": \"…\" }}`"),
            )),
            (Some(param), _) => Ok(if param.declaration.secret { Phase::Bind } else { Phase::Provision }),
            (None, Some(param)) => Err((
                format!("parameter `{name}` belongs to a layer that this one does not require"),
                format!("it is declared at {}: add that layer to `requires`", param.place),
            )),
            (None, None) => Err((
                format!("undefined parameter `{name}`"),
                did_you_mean(name, self.params.keys().map(String::as_str).filter(|name| self.can_reach(name)))
                    .unwrap_or_else(|| format!("declare it in this layer: `[params.{name}]`")),
            )),
        }
    }

    fn phase_of_launch(&self, root: &str) -> Result<Phase, (String, String)> {
        let known = match (root, self.binding) {
            ("launch", Some(binding)) => binding.launch.is_some(),
            ("worker", Some(binding)) => binding.worker.is_some(),
            ("launch" | "worker", None) => true,
            _ => return Ok(Phase::Provision),
        };
        if known {
            return Ok(Phase::Bind);
        }
        Err((
            format!("`{root}` is used here and the user-data has none"),
            format!("add the key `{root}` to the user-data"),
        ))
    }
}
