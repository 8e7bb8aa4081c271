//! The one place where a store is opened: which there are, how each is named, and what is asked of it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::address::without_secrets;
use super::embedded::{
    self, EmbeddedJournal, EmbeddedOptions, EmbeddedSettings, EngineKind, FjallSettings, SledSettings,
};
use super::memory::Memory;
use super::postgres::{PostgresOptions, PostgresSettings, PostgresStore};
use super::redis::{RedisOptions, RedisSettings, RedisStore};
use super::several::{self, SeveralOptions};
use super::{Slot, Store, StoreError};

/// Where a store is. As text: `sled:DIR`, `fjall:DIR`, `postgres://...`, several of these with commas between,
/// `redis://...`, `memory`.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// Gone with the process.
    Memory,
    Embedded {
        engine: EngineKind,
        dir: PathBuf,
    },
    /// The address may hold a password: it is never shown.
    Postgres {
        url: String,
    },
    /// Several PostgreSQL servers that are one store, the first of them its head.
    Several {
        urls: Vec<String>,
    },
    /// The same.
    Redis {
        url: String,
    },
}

/// Into how many slots a store is divided: fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    /// So many; a store that is not there is created.
    Configured(Slot),
    /// As many as the store has; one that is not there is an error, and nothing is created.
    Stored,
}

impl Slots {
    fn configured(self) -> Option<Slot> {
        match self {
            Slots::Configured(slots) => Some(slots),
            Slots::Stored => None,
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    pub choice: StoreChoice,
    pub slots: Slots,
    pub tuning: Tuning,
}

/// What is configured of the stores of each kind: the sections below `store` of `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    pub sled: SledSettings,
    pub fjall: FjallSettings,
    pub embedded: EmbeddedSettings,
    pub postgres: PostgresSettings,
    pub redis: RedisSettings,
}

impl Tuning {
    pub fn embedded(&self, engine: EngineKind, slots: Slot) -> EmbeddedOptions {
        let Tuning { sled, fjall, embedded, .. } = *self;
        EmbeddedOptions { engine, slots, sled, fjall, embedded }
    }
}

/// Opens a store. What it answers is whole: journal and node list.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    match &settings.choice {
        StoreChoice::Memory => match settings.slots {
            Slots::Configured(slots) => Ok(Arc::new(Memory::new(slots))),
            Slots::Stored => Err(not_there(&settings.choice)),
        },
        StoreChoice::Embedded { engine, dir } => {
            let (choice, engine, dir) = (settings.choice.clone(), *engine, dir.clone());
            let (slots, tuning) = (settings.slots, settings.tuning.clone());
            let opening = tokio::task::spawn_blocking(move || {
                let slots = match slots {
                    Slots::Configured(slots) => slots,
                    Slots::Stored => {
                        // Whatever number is named here is not looked at.
                        embedded::slots_of(&dir, &tuning.embedded(engine, 0))?.ok_or_else(|| not_there(&choice))?
                    }
                };
                EmbeddedJournal::open(&dir, tuning.embedded(engine, slots))
            });
            let opened = opening.await.map_err(|error| StoreError::Fatal(format!("opening has panicked: {error}")))?;
            Ok(Arc::new(opened?))
        }
        StoreChoice::Postgres { url } => {
            let (slots, settings) = (settings.slots.configured(), settings.tuning.postgres.clone());
            Ok(Arc::new(PostgresStore::open(PostgresOptions { url: url.clone(), slots, settings }).await?))
        }
        StoreChoice::Several { urls } => {
            let (slots, settings) = (settings.slots.configured(), settings.tuning.postgres.clone());
            Ok(Arc::new(several::open(SeveralOptions { urls: urls.clone(), slots, settings }).await?))
        }
        StoreChoice::Redis { url } => {
            let (slots, settings) = (settings.slots.configured(), settings.tuning.redis.clone());
            Ok(Arc::new(RedisStore::open(RedisOptions { url: url.clone(), slots, settings }).await?))
        }
    }
}

/// To be asked for [`Slots::Stored`].
fn not_there(choice: &StoreChoice) -> StoreError {
    StoreError::Fatal(format!("there is no store at {choice}"))
}

impl StoreChoice {
    /// Whether several processes, also on other machines, may use the store at once.
    pub fn is_shared(&self) -> bool {
        match self {
            StoreChoice::Postgres { .. } | StoreChoice::Several { .. } | StoreChoice::Redis { .. } => true,
            StoreChoice::Memory | StoreChoice::Embedded { .. } => false,
        }
    }
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<StoreChoice, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("postgres" | "postgresql") => {
                let mut urls = servers(text);
                return Ok(match urls.len() {
                    1 => StoreChoice::Postgres { url: urls.remove(0) },
                    _ => StoreChoice::Several { urls },
                });
            }
            Some("redis" | "rediss") => return Ok(StoreChoice::Redis { url: text.to_owned() }),
            _ => {}
        }
        let embedded = text.split_once(':').and_then(|(name, dir)| Some((EngineKind::named(name)?, dir)));
        match embedded {
            Some((engine, dir)) if !dir.is_empty() => Ok(StoreChoice::Embedded { engine, dir: dir.into() }),
            // What was given may hold a password, so it is not repeated.
            _ => Err("a store is sled:DIR, fjall:DIR, postgres://... or redis://...".to_owned()),
        }
    }
}

/// The addresses in a list with commas. An address may have commas too (several hosts of one server), but none before a
/// scheme.
fn servers(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for piece in text.split(',') {
        match urls.last_mut() {
            Some(last) if !piece.starts_with("postgres://") && !piece.starts_with("postgresql://") => {
                last.push(',');
                last.push_str(piece);
            }
            Some(_) | None => urls.push(piece.to_owned()),
        }
    }
    urls
}

/// For people: without user and password.
impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreChoice::Memory => f.write_str("memory"),
            StoreChoice::Embedded { engine, dir } => write!(f, "{}:{}", engine.name(), dir.display()),
            StoreChoice::Postgres { url } | StoreChoice::Redis { url } => f.write_str(&without_secrets(url)),
            StoreChoice::Several { urls } => {
                let shown: Vec<String> = urls.iter().map(|url| without_secrets(url)).collect();
                f.write_str(&shown.join(","))
            }
        }
    }
}

impl fmt::Debug for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreChoice({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn stores_are_named_and_shown_without_their_secrets() {
        let shown = |text: &str| text.parse::<StoreChoice>().map(|choice| choice.to_string());
        assert_eq!(shown("sled:./data"), Ok("sled:./data".to_owned()));
        assert_eq!(shown("fjall:a:b"), Ok("fjall:a:b".to_owned()));
        assert_eq!(shown("postgres://souk:s@cret@db:5432/souk?password=x"), Ok("postgres://db:5432/souk".to_owned()));
        assert_eq!(shown("rediss://:secret@cache/1"), Ok("rediss://cache/1".to_owned()));
        let several = "postgres://u:s@a,b/x?password=y,postgresql://c/x";
        assert_eq!(shown(several), Ok("postgres://a,b/x,postgresql://c/x".to_owned()));
        assert!(matches!(several.parse(), Ok(StoreChoice::Several { urls }) if urls.len() == 2));
        for wrong in ["", "sled", "sled:", "oracle:x", "mysql://u:hunter2@h/d", "memory"] {
            let told = shown(wrong).expect_err(wrong);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_created_unless_that_is_wanted() {
        let dir = tempfile::tempdir().expect("a folder");
        for engine in EngineKind::ALL {
            let place = dir.path().join(engine.name());
            let choice = StoreChoice::Embedded { engine, dir: place.clone() };
            let settings = |slots| Config::default().settings_of(choice.clone(), slots);
            let refused = open(&settings(Slots::Stored)).await.map(drop).expect_err("it is not there").to_string();
            assert!(refused.contains("there is no store at"), "{refused}");
            assert!(!place.exists());
            open(&settings(Slots::Configured(8))).await.expect("created").close().await.expect("closed");
            let stored = open(&settings(Slots::Stored)).await.expect("it is there");
            assert_eq!(stored.slots(), 8);
        }
    }
}
