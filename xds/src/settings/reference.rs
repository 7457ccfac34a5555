//! The reference page of the settings, written from their schema.

use std::fmt::Write;

use serde_json::Value;

use super::Settings;

/// The page, as Markdown: one row a setting, with its type, its default and what it does.
pub fn reference() -> String {
    let schema = Settings::schema();
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut page = String::from(
        "# Settings\n\n\
         `pilotage serve --config FILE` reads these from a YAML file; every key may be left out, and an unknown key is \
         refused.\nFlags and environment variables (`pilotage serve --help`) win over the file. This page and\n\
         [`settings.schema.json`](settings.schema.json) are written by `pilotage settings`.\n\n\
         | key | type | default | what it does |\n|---|---|---|---|\n",
    );
    rows(&mut page, &schema, &schema, &defaults, "");
    page
}

fn rows(page: &mut String, root: &Value, object: &Value, defaults: &Value, prefix: &str) {
    let Some(properties) = object["properties"].as_object() else { return };
    for (key, property) in properties {
        let name = format!("{prefix}{key}");
        let target = resolve(root, property);
        if target["properties"].is_object() {
            rows(page, root, target, &defaults[key], &format!("{name}."));
            continue;
        }
        let description =
            property["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let default = match &defaults[key] {
            Value::Null => "unset".to_owned(),
            value => format!("`{value}`"),
        };
        let description = format!("{}{}", description.replace('\n', " "), variants(target));
        let _ = writeln!(page, "| `{name}` | {} | {default} | {description} |", type_name(target));
    }
}

/// What a property's schema refers to, through `$ref` and `anyOf` with null.
fn resolve<'a>(root: &'a Value, property: &'a Value) -> &'a Value {
    if let Some(name) = property["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return &root["$defs"][name];
    }
    match property["anyOf"]
        .as_array()
        .and_then(|options| options.iter().find(|option| option["type"] != "null"))
    {
        Some(option) => resolve(root, option),
        None => property,
    }
}

fn type_name(schema: &Value) -> String {
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any").to_owned()
        }
        _ => "string".to_owned(),
    };
    if name == "array" { format!("list of {}", type_name(&schema["items"])) } else { name }
}

fn variants(schema: &Value) -> String {
    let mut text = String::new();
    for option in schema["oneOf"].as_array().into_iter().flatten() {
        let names = option["const"]
            .as_str()
            .into_iter()
            .chain(option["enum"].as_array().into_iter().flatten().filter_map(Value::as_str));
        for name in names {
            let _ = write!(text, " `{name}`: {}", option["description"].as_str().unwrap_or_default());
        }
    }
    text
}
