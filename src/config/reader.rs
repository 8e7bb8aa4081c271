//! Turns the values that count into typed settings within their bounds, and collects what is wrong. After
//! a problem it goes on with the smallest value allowed, which nobody sees: a load with problems fails.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::layers::{Layers, Value};
use super::{AddressBlock, ConfigError};

/// The longest time a setting may name: a year.
const MS_MAX: i64 = 366 * 24 * 3_600_000;

pub struct Reader<'a> {
    layers: &'a Layers,
    problems: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub fn new(layers: &'a Layers) -> Reader<'a> {
        Reader { layers, problems: Vec::new() }
    }

    pub fn into_problems(self) -> Vec<ConfigError> {
        self.problems
    }

    pub fn number<N: TryFrom<i64>>(&mut self, key: &'static str, within: RangeInclusive<i64>) -> N {
        let found = match self.value(key) {
            Some(Value::Integer(found)) => *found,
            Some(Value::Text(_) | Value::List(_)) | None => *within.start(),
        };
        let number = if within.contains(&found) {
            found
        } else {
            self.problem(key, format!("must be {} to {}, not {found}", within.start(), within.end()));
            *within.start()
        };
        N::try_from(number).unwrap_or_else(|_| panic!("the bounds of {key} exceed its type"))
    }

    pub fn size(&mut self, key: &'static str, within: RangeInclusive<i64>) -> usize {
        self.number(key, within)
    }

    /// A time of at least 1 ms.
    pub fn ms(&mut self, key: &'static str) -> u64 {
        self.number(key, 1..=MS_MAX)
    }

    pub fn text(&mut self, key: &'static str, length: RangeInclusive<usize>) -> String {
        let found = match self.value(key) {
            Some(Value::Text(found)) => found.clone(),
            Some(Value::Integer(_) | Value::List(_)) | None => String::new(),
        };
        if !length.contains(&found.len()) {
            let message = match length.start() {
                1 if found.is_empty() => "must not be empty".to_owned(),
                _ => format!("must be {} to {} bytes long", length.start(), length.end()),
            };
            self.problem(key, message);
        }
        found
    }

    /// A text that `T` parses; `fallback` is one that it does, for after a problem.
    pub fn parsed<T: FromStr>(&mut self, key: &'static str, expected: &str, fallback: &'static str) -> T {
        let found = self.text(key, 0..=4_096);
        found.parse().unwrap_or_else(|_| {
            self.problem(key, format!("expected {expected}, not {found:?}"));
            fallback.parse().unwrap_or_else(|_| panic!("the fallback of {key} is valid"))
        })
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> T {
        let found = self.text(key, 0..=4_096);
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return *value;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.problem(key, format!("must be one of {}, not {found:?}", known.join(", ")));
        words[0].1
    }

    pub fn blocks(&mut self, key: &'static str) -> Vec<AddressBlock> {
        let mut blocks = Vec::new();
        for item in self.list(key) {
            match item.parse() {
                Ok(block) => blocks.push(block),
                Err(why) => self.problem(key, format!("{why}, not {item:?}")),
            }
        }
        blocks
    }

    /// Origins as browsers send them, or `*` alone.
    pub fn origins(&mut self, key: &'static str) -> Vec<String> {
        let items = self.list(key);
        for item in &items {
            let is_origin = match item.as_str() {
                "*" => items.len() == 1,
                item => {
                    url::Url::parse(item).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == item)
                }
            };
            if !is_origin {
                let expected = "expected origins such as https://shop.example.com, or * alone";
                self.problem(key, format!("{expected}, not {item:?}"));
            }
        }
        items
    }

    /// Reports `message` about `key` unless it `holds`.
    pub fn require(&mut self, key: &'static str, holds: bool, message: &str) {
        // a key that is already reported would only be reported for its stand-in value
        if !holds && !self.problems.iter().any(|problem| problem.key == key) {
            self.problem(key, message.to_owned());
        }
    }

    pub fn list(&mut self, key: &'static str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(items)) => items.clone(),
            Some(Value::Integer(_) | Value::Text(_)) | None => Vec::new(),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        let value = self.layers.get(key).map(|(value, _)| value);
        if value.is_none() {
            self.problem(key, "has no default".to_owned());
        }
        value
    }

    fn problem(&mut self, key: &'static str, message: String) {
        let source = self.layers.get(key).map_or("config/default.toml", |(_, source)| source).to_owned();
        self.problems.push(ConfigError { key: key.to_owned(), source, message });
    }
}
