//! The sources, laid over one another: for each key the value that counts, and where it was written.
//!
//! A value's type is the type of its default. The environment has only text, which is read as that
//! type; a list is separated by commas.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, DEFAULT_TOML, Sources};

/// A value of one of the types that settings have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Value::Integer(_) => "an integer",
            Value::Text(_) => "a string",
            Value::List(_) => "a list of strings",
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Value> {
        if let Some(integer) = value.as_integer() {
            let digits = integer.as_str().replace('_', "");
            return i64::from_str_radix(digits.trim_start_matches('+'), integer.radix()).ok().map(Value::Integer);
        }
        if let Some(text) = value.as_str() {
            return Some(Value::Text(text.to_owned()));
        }
        if let Some(truth) = value.as_bool() {
            return Some(Value::Text(truth.to_string())); // one of two words
        }
        let items = value.as_array()?;
        items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>().map(Value::List)
    }

    /// Reads `text` as the type that `self`, the default, has.
    fn read_like(&self, text: &str) -> Option<Value> {
        match self {
            Value::Integer(_) => text.trim().replace('_', "").parse().ok().map(Value::Integer),
            Value::Text(_) => Some(Value::Text(text.to_owned())),
            Value::List(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::List(items.map(str::to_owned).collect()))
            }
        }
    }
}

/// Each key with its value and where that was written.
pub struct Layers {
    values: BTreeMap<String, (Value, String)>,
}

impl Layers {
    /// Lays all sources over the defaults. What does not fit is left out and reported.
    pub fn gather(sources: &Sources<'_>) -> (Layers, Vec<ConfigError>) {
        let mut problems = Vec::new();
        let mut layers = Layers { values: BTreeMap::new() };
        for (key, found) in parse_toml("config/default.toml", DEFAULT_TOML, &mut problems) {
            if let Some(value) = found.value {
                layers.values.insert(key, (value, "config/default.toml".to_owned()));
            }
        }
        if let Some(path) = sources.file {
            layers.lay_file(path, &mut problems);
        }
        layers.lay_environment(&sources.environment, &mut problems);
        for (option, key, text) in &sources.options {
            layers.lay_text(key, option, text, &mut problems);
        }
        (layers, problems)
    }

    /// The value of `key` and where it was written. `None` for a key that has no default.
    pub fn get(&self, key: &str) -> Option<(&Value, &str)> {
        self.values.get(key).map(|(value, source)| (value, source.as_str()))
    }

    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn lay_file(&mut self, path: &Path, problems: &mut Vec<ConfigError>) {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(ConfigError {
                    key: String::new(),
                    source: name,
                    message: format!("cannot be read: {error}"),
                });
                return;
            }
        };
        for (key, found) in parse_toml(&name, &text, problems) {
            match (self.values.get(&key), found.value) {
                (None, _) => problems.push(self.unknown(&key, found.source)),
                (Some((default, _)), Some(value)) if default.type_name() == value.type_name() => {
                    self.values.insert(key, (value, found.source));
                }
                (Some((default, _)), _) => {
                    let message = format!("must be {}, not {}", default.type_name(), found.type_name);
                    problems.push(ConfigError { key, source: found.source, message });
                }
            }
        }
    }

    /// `SOUK_A__B` is key `a.b`. Variables without a `__` are not keys: options have them, and
    /// orchestrators make their own (`SOUK_SERVICE_HOST`).
    fn lay_environment(&mut self, environment: &[(String, String)], problems: &mut Vec<ConfigError>) {
        let mut variables: Vec<_> = environment.iter().collect();
        variables.sort();
        for (name, text) in variables {
            let Some(path) = name.strip_prefix("SOUK_").filter(|path| path.contains("__")) else { continue };
            self.lay_text(&path.to_lowercase().replace("__", "."), name, text, problems);
        }
    }

    fn lay_text(&mut self, key: &str, source: &str, text: &str, problems: &mut Vec<ConfigError>) {
        let Some((present, _)) = self.values.get(key) else {
            problems.push(self.unknown(key, source.to_owned()));
            return;
        };
        match present.read_like(text) {
            Some(value) => {
                self.values.insert(key.to_owned(), (value, source.to_owned()));
            }
            None => problems.push(ConfigError {
                key: key.to_owned(),
                source: source.to_owned(),
                message: format!("must be {}, not {text:?}", present.type_name()),
            }),
        }
    }

    fn unknown(&self, key: &str, source: String) -> ConfigError {
        let nearest = self.values.keys().map(|known| (distance(key, known), known)).min();
        let message = match nearest {
            Some((distance, known)) if distance <= 1 + key.len() / 5 => format!("unknown key; did you mean {known}?"),
            _ => "unknown key; config/default.toml has them all".to_owned(),
        };
        ConfigError { key: key.to_owned(), source, message }
    }
}

/// A leaf of a TOML file.
struct Found {
    /// `None` when no setting has such a type.
    value: Option<Value>,
    type_name: &'static str,
    source: String,
}

/// All leaves of a TOML text with their dotted keys. Syntax errors become problems.
fn parse_toml(name: &str, text: &str, problems: &mut Vec<ConfigError>) -> Vec<(String, Found)> {
    let line = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let source = format!("{name}:{}", error.span().map_or(1, |span| line(span.start)));
        problems.push(ConfigError { key: String::new(), source, message: error.message().to_owned() });
    }
    let mut leaves = Vec::new();
    walk(table.get_ref(), "", &mut |key, at, value| {
        let source = format!("{name}:{}", line(at));
        leaves.push((key, Found { value: Value::from_toml(value), type_name: value.type_str(), source }));
    });
    leaves
}

fn walk(table: &DeTable<'_>, prefix: &str, leaf: &mut impl FnMut(String, usize, &DeValue<'_>)) {
    for (key, value) in table.iter() {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref().as_table() {
            Some(inner) => walk(inner, &path, leaf),
            None => leaf(path, Spanned::span(key).start, value.get_ref()),
        }
    }
}

/// How many letters must be changed, added or taken away to turn one key into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
