//! The OpenAPI document as a judge: each answer has a documented status, and a body of the documented shape.

use reqwest::Method;
use serde_json::{Map, Value};

use super::Told;

pub struct Contract {
    pub document: Value,
}

type Verdict = Result<(), String>;

impl Contract {
    pub fn new(document: Value) -> Contract {
        Contract { document }
    }

    /// Whether the document has this answer.
    pub fn check(&self, method: &Method, path: &str, told: &Told) -> Verdict {
        let path = percent_encoding::percent_decode_str(path.split('?').next().unwrap_or_default());
        let path = &*path.decode_utf8_lossy();
        let Some(item) = self.item(path) else {
            let known = told.status == 404 || path.starts_with("/docs");
            return if known { Ok(()) } else { Err("there is no such path".into()) };
        };
        let asked = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
        let Some(operation) = item.get(&asked) else {
            let known = method == Method::OPTIONS || told.status == 405;
            return if known { Ok(()) } else { Err("there is no such method".into()) };
        };
        let response = operation["responses"].get(told.status.as_str()).ok_or("the status is not documented")?;
        if method == Method::HEAD {
            return Ok(());
        }
        let media = told.header("content-type").split(';').next().unwrap_or_default();
        match response["content"].get(media) {
            Some(content) => self.fits(&content["schema"], &told.body, ""),
            None if media.is_empty() && told.body == "" => Ok(()),
            None => Err(format!("{media:?} is not documented")),
        }
    }

    /// The path's item: a path that says every segment in full wins over one with a parameter.
    fn item(&self, path: &str) -> Option<&Value> {
        let paths = self.document["paths"].as_object()?;
        paths.get(path).or_else(|| paths.iter().find(|(template, _)| matches(template, path)).map(|(_, item)| item))
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Verdict {
        if let Some(name) = schema["$ref"].as_str() {
            let target = self.document.pointer(name.trim_start_matches('#')).ok_or(format!("{name} is nowhere"))?;
            return self.fits(target, value, at);
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let fits = choices.iter().any(|one| self.fits(one, value, at).is_ok());
                return fits.then_some(()).ok_or_else(|| format!("{at}: {value} is none of {choice}"));
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            // Parts are open towards each other, so only what each demands is looked at.
            return parts.iter().try_for_each(|part| self.has_required(part, value, at));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{at}: {value} is not one of the documented words"));
        }
        is_of_type(&schema["type"], value).then_some(()).ok_or(format!("{at}: {value} is no {}", schema["type"]))?;
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(n, item)| self.fits(&schema["items"], item, &format!("{at}/{n}"))),
            Value::Object(members) => {
                self.has_required(schema, value, at)?;
                self.knows(schema, members, at)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn has_required(&self, schema: &Value, value: &Value, at: &str) -> Verdict {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = required.into_iter().find(|name| value.get(name).is_none());
        missing.map_or(Ok(()), |name| Err(format!("{at}/{name} is missing")))
    }

    fn knows(&self, schema: &Value, members: &Map<String, Value>, at: &str) -> Verdict {
        let Some(properties) = schema["properties"].as_object() else {
            let each = &schema["additionalProperties"];
            return members.iter().try_for_each(|(name, value)| self.fits(each, value, &format!("{at}/{name}")));
        };
        members.iter().try_for_each(|(name, value)| match properties.get(name) {
            Some(property) => self.fits(property, value, &format!("{at}/{name}")),
            None => Err(format!("{at}/{name} is not documented")),
        })
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(known, part)| known.starts_with('{') || known == part)
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}
