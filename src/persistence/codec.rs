//! The one place where stored payloads meet bincode. Each payload lies inside an envelope of ours
//! (see [`super::record`]) that names its type and version, so that the codec can be replaced.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("no reader for code {code} version {version}: written by a newer souk, or damaged")]
    Unknown { code: u8, version: u16 },
    #[error("malformed: {0}")]
    Malformed(String),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard()
}

/// Encodes a value. What is stored are plain values of our own, for which encoding cannot fail.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config()).expect("plain values encode")
}

/// Decodes a value; all bytes must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError::Malformed(format!("{} bytes left over", bytes.len() - used))),
        Err(error) => Err(CodecError::Malformed(error.to_string())),
    }
}
