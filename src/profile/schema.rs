//! JSON Schemas (draft-07) of what people write, from the very types that read it.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::resource::{TYPES, schema};
use crate::userdata::Document;
use crate::written::{LayerTable, ProfileTable};

/// Of a file below `layers/`.
pub fn layer() -> Value {
    of::<LayerTable>()
}

/// Of a profile.
pub fn profile() -> Value {
    of::<ProfileTable>()
}

/// Of user-data, once it is plain JSON.
pub fn userdata() -> Value {
    of::<Document>()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// A key that can be left out is never null: TOML has no such thing, and user-data refuses it.
#[derive(Clone, Debug)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
            forms.retain(|form| form.get("type").is_none_or(|name| name != "null"));
            if forms.len() == 1 {
                let only = schema.remove("anyOf").unwrap_or_default();
                schema.insert("allOf".into(), only);
            }
        }
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        // Widths of integers, which no validator knows; their bounds are there.
        schema.remove("format");
        transform_subschemas(self, schema);
    }
}

/// One `[[resource]]`.
pub(crate) enum AnyResource {}

impl JsonSchema for AnyResource {
    fn schema_name() -> Cow<'static, str> {
        "Resource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // A type without a schema is one that fits nothing: the test of the shipped layers finds it.
        let tables = TYPES.iter().filter_map(|kind| Some((*kind, schema::table(kind, generator)?)));
        let tables: Vec<_> =
            tables.map(|(kind, table)| entry(kind, table, &["when", "early", "description"])).collect();
        json_schema!({ "description": "One piece of wanted state.", "oneOf": tables })
    }
}

/// The `[worker]`.
pub(crate) enum AnyWorker {}

impl JsonSchema for AnyWorker {
    fn schema_name() -> Cow<'static, str> {
        "Worker".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = schema::worker(generator);
        entry("command", table, &["when", "description"])
    }
}

/// A table with the keys that are taken out of it before it is read as its type.
fn entry(kind: &str, mut table: Schema, common: &[&str]) -> Schema {
    let mut properties = Map::from_iter([("type".to_owned(), json!({ "const": kind }))]);
    if let Some(Value::Object(own)) = table.remove("properties") {
        properties.extend(own.into_iter().map(|(key, value)| (key, or_template(value))));
    }
    properties.extend(common.iter().map(|key| ((*key).to_owned(), common_key(key))));
    table.insert("properties".into(), Value::Object(properties));
    let mut required = vec![json!("type")];
    if let Some(Value::Array(own)) = table.remove("required") {
        required.extend(own);
    }
    table.insert("required".into(), Value::Array(required));
    table
}

fn common_key(key: &str) -> Value {
    match key {
        "when" => json!({
            "type": "string",
            "description": "An expression, such as `os.family == 'debian' and cpus >= 4`; left out where it does not hold.",
        }),
        "early" => json!({
            "type": "boolean",
            "default": false,
            "description": "Applied before repositories and packages; early packages are a transaction of their own.",
        }),
        _ => json!({ "type": "string", "description": "For people." }),
    }
}

/// A choice may also be a template, which becomes one of the words.
fn or_template(mut schema: Value) -> Value {
    let Some(keys) = schema.as_object_mut() else { return schema };
    let mut choice = Map::new();
    for key in ["enum", "oneOf"] {
        choice.extend(keys.remove_entry(key));
    }
    if !choice.is_empty() {
        choice.extend(keys.remove_entry("type"));
        keys.insert("anyOf".into(), json!([choice, { "type": "string", "pattern": r"\{\{" }]));
    }
    schema
}
