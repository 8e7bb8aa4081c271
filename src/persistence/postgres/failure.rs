//! What an error of the server's or of the connection's means for what was asked.

use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use super::super::StoreError;

/// Why a statement has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not sent, or the server has undone it.
    NotDone(String),
    /// It was not sent: the server is not one that may be used.
    Unfit(String),
    /// Undone because of what others did at the same time: to be sent again.
    Retry(String),
    /// Undone because somebody holds a lock for longer than it was to be waited for.
    Locked(String),
    /// Undone, and not because of the server as a whole: of the data in it, of a page that it meets, of what it takes
    /// of time or memory. What others ask may succeed.
    Statement(String),
    /// Sent, and nobody knows.
    Unknown(String),
    /// The server has found its files damaged.
    Damaged(String),
    /// Never again on this store.
    Fatal(String),
}

impl Failure {
    /// For what changes nothing: not to know is as good as not done.
    pub fn of_a_read(self) -> StoreError {
        match self {
            Failure::NotDone(why)
            | Failure::Unfit(why)
            | Failure::Retry(why)
            | Failure::Locked(why)
            | Failure::Statement(why)
            | Failure::Unknown(why) => StoreError::Unavailable(why),
            Failure::Damaged(why) => StoreError::Damaged(why),
            Failure::Fatal(why) => StoreError::Fatal(why),
        }
    }

    /// For what may have been done.
    pub fn of_a_write(self) -> StoreError {
        match self {
            Failure::Unknown(why) => StoreError::Unknown(why),
            other => other.of_a_read(),
        }
    }

    /// The same of a statement that was only about to be sent.
    pub fn before_sending(self) -> Failure {
        match self {
            Failure::Unknown(why) | Failure::Retry(why) | Failure::Locked(why) | Failure::Statement(why) => {
                Failure::NotDone(why)
            }
            other => other,
        }
    }
}

/// An error with a severity of `ERROR` is the server's word that the statement was undone. A worse one ends
/// the connection, and may come after the commit; so may any error of the connection's own.
///
/// (A statement timeout is over before the commit begins: it never leaves a commit behind that waits for a
/// standby. Only a cancel request would, and none is ever sent.)
pub fn classify(error: &Error) -> Failure {
    let Some(told) = error.as_db_error() else { return Failure::Unknown(in_full(error)) };
    let why = format!("{} ({})", told.message(), told.code().code());
    if !matches!(told.parsed_severity(), Some(Severity::Error)) {
        return Failure::Unknown(why);
    }
    let code = told.code();
    // The last: what a row refers to has gone since the statement looked.
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::FOREIGN_KEY_VIOLATION]
        .contains(code)
    {
        return Failure::Retry(why);
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        return Failure::Locked(why);
    }
    if DAMAGE.contains(code) {
        return Failure::Damaged(why);
    }
    if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) {
        return Failure::Fatal(format!("the tables are not souk's: {why}"));
    }
    match code.code().get(..2) {
        // 40003: the server itself does not know; 08: it has lost its own connection.
        Some("40" | "08") => Failure::Unknown(why),
        _ if is_of_the_server(code) => Failure::NotDone(why),
        _ => Failure::Statement(why),
    }
}

/// What the server cannot read of its own files, or reads and finds wrong.
const DAMAGE: [SqlState; 4] =
    [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED, SqlState::IO_ERROR, SqlState::UNDEFINED_FILE];

/// Whether every statement would meet the same error: the server is full, read-only, starting or stopping, does not
/// know us, or does not understand us. (The statement itself may be to blame where it has run out of memory or time.)
fn is_of_the_server(code: &SqlState) -> bool {
    const CLASSES: [&str; 13] = ["0A", "0B", "0L", "0P", "25", "26", "28", "2D", "3D", "3F", "42", "55", "F0"];
    let of = |class: &str| code.code().starts_with(class);
    CLASSES.into_iter().any(of)
        || (of("53") && *code != SqlState::OUT_OF_MEMORY)
        || (of("57") && *code != SqlState::QUERY_CANCELED)
}

/// The error with what is behind it: "error connecting to server" alone helps nobody.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        source = deeper.source();
    }
    text
}
