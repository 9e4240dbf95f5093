//! The JSON schema of a definition, for editors; built from the table of keys, so that it cannot
//! say another thing than the parser does.

use serde_json::{Value, json};

use crate::keys::{DENY_KEYS, HOST_KEYS, KEYS, Key, PATH_KEYS, SECTIONS, Shape};

/// JSON Schema (draft 2020-12) of `ringfence.toml` and `policy.toml`.
#[must_use]
pub fn schema() -> Value {
    let mut top = section("");
    for name in SECTIONS {
        let object = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": section(name),
        });
        top.insert((*name).to_owned(), object);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ringfence definition",
        "type": "object",
        "additionalProperties": false,
        "required": ["version"],
        "properties": top,
    })
}

fn section(name: &str) -> serde_json::Map<String, Value> {
    let keys = KEYS.iter().filter(|key| key.section == name);
    keys.map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let mut value = match key.shape {
        Shape::Version => json!({ "const": 1 }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Choice(options) => json!({ "enum": options }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Whole => json!({ "type": "integer", "minimum": 0 }),
        Shape::Count => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "none" }] })
        }
        Shape::Number => {
            json!({ "anyOf": [{ "type": "number", "exclusiveMinimum": 0 }, { "const": "none" }] })
        }
        Shape::Size => json!({ "type": "string", "pattern": "^([0-9]+[KMGT](iB)?|none)$" }),
        Shape::Duration => json!({ "type": "string", "pattern": "^(([0-9]+[dhms])+|none)$" }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Paths => entries("path", PATH_KEYS),
        Shape::Hosts if key.name == "deny" => entries("host", DENY_KEYS),
        Shape::Hosts => entries("host", HOST_KEYS),
        Shape::Ports => json!({ "type": "array", "items": { "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": "^[0-9]+(:[0-9]+)?$" },
        ] } }),
        Shape::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("description".to_owned(), key.help.into());
    }
    value
}

fn entries(required: &str, keys: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> = keys
        .iter()
        .map(|name| {
            let value = match *name {
                "addresses" => json!({ "type": "array", "items": { "type": "string" } }),
                "for" => json!({ "type": "string", "pattern": "^([0-9]+[dhms])+$" }),
                // TOML dates have no JSON form; editors for TOML accept any value here.
                "expires" => json!({ "description": "a date and time with an offset" }),
                _ => json!({ "type": "string" }),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    json!({ "type": "array", "items": { "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "additionalProperties": false,
            "required": [required],
            "properties": properties,
        },
    ] } })
}
