//! What the server answers, as values of ours.

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::connection::Trouble;
use super::link::Link;
use crate::persistence::{SlotHead, StoreError};

fn odd(wanted: &str, found: &Value) -> StoreError {
    StoreError::Damaged(format!("{wanted} was asked for, and the server has {found:?}"))
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(odd("bytes", &other)),
    }
}

pub(super) fn text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(bytes(value)?).map_err(|error| StoreError::Damaged(format!("no text: {error}")))
}

/// A number; 0 where there is nothing.
pub(super) fn number<T: std::str::FromStr + Default>(value: Value) -> Result<T, StoreError> {
    let text = match value {
        Value::Nil => return Ok(T::default()),
        Value::Int(number) => number.to_string(),
        other => text(other)?,
    };
    text.parse().map_err(|_| StoreError::Damaged(format!("{text:?} is no number")))
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(odd("a list", &other)),
    }
}

/// So many values.
pub(super) fn fields<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
    <[Value; N]>::try_from(list(value)?).map_err(|values| odd("a list of another length", &Value::Array(values)))
}

impl Link {
    /// Asks what changes nothing; once more, where the connection was gone.
    pub async fn read(&self, command: Cmd) -> Result<Value, StoreError> {
        let asked = Instant::now();
        match self.ask(command.clone()).await {
            Err(Trouble::Lost(_)) if asked.elapsed() < self.patience() => self.ask(command).await,
            answer => answer,
        }
        .map_err(Trouble::of_read)
    }

    pub async fn read_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        let asked = Instant::now();
        let mut answers = self.ask_all(commands).await;
        let is_lost = |answer: &Result<Value, Trouble>| matches!(answer, Err(Trouble::Lost(_)));
        if answers.as_ref().is_ok_and(|answers| answers.iter().any(is_lost)) && asked.elapsed() < self.patience() {
            answers = self.ask_all(commands).await;
        }
        answers.map_err(Trouble::of_read)?.into_iter().map(|answer| answer.map_err(Trouble::of_read)).collect()
    }
}

/// A slot's head from what is stored of it, and the time of its last record (nothing: there is none, or it is not
/// asked for).
pub(super) fn head_of(head: &[u8], time: &[u8]) -> Result<SlotHead, StoreError> {
    if head.is_empty() {
        return Ok(SlotHead::default());
    }
    let read = || {
        let mut parts = std::str::from_utf8(head).ok()?.splitn(3, ':');
        let (epoch, seq, owner) = (parts.next()?, parts.next()?, parts.next()?);
        let at_ms = time_of(time)?;
        Some(SlotHead { owner: Some(owner.to_owned()), epoch: epoch.parse().ok()?, seq: seq.parse().ok()?, at_ms })
    };
    read().ok_or_else(|| StoreError::Damaged(format!("{:?} is no head of a slot", String::from_utf8_lossy(head))))
}

/// A time as it is in a record.
pub(super) fn time_of(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [] => Some(0),
        bytes => Some(i64::from_le_bytes(bytes.try_into().ok()?)),
    }
}
