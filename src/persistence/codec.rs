//! The one place where stored payloads meet bincode. Each payload lies inside an envelope of ours
//! (see [`super::record`]) that names its type and version, so that the codec can be replaced.

use std::cell::Cell;

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

fn config() -> bincode::config::Configuration {
    bincode::config::standard()
}

/// Decodes, and takes no memory for more than `LIMIT` bytes, whatever a length in `bytes` says.
fn decode_within<T: DeserializeOwned, const LIMIT: usize>(
    bytes: &[u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
    bincode::serde::decode_from_slice(bytes, config().with_limit::<LIMIT>())
}

thread_local! {
    /// Where a value is encoded before its length is known. What is kept of it then takes no more than it needs.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a thread keeps for that at most, in bytes.
const SCRATCH_MAX: usize = 64 * 1024;

/// Encodes a value. What is stored are plain values of our own, for which encoding cannot fail.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut scratch = SCRATCH.take();
    bincode::serde::encode_into_std_write(value, &mut scratch, config()).expect("plain values encode");
    let bytes = scratch.as_slice().to_vec();
    scratch.clear();
    scratch.shrink_to(SCRATCH_MAX);
    SCRATCH.set(scratch);
    bytes
}

/// Decodes a value; all bytes must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    // The limit counts integers by their type, up to 16 bytes for the one that they are written as.
    let decoded = match bytes.len() {
        0..0x101 => decode_within::<T, 0x1000>(bytes),
        0x101..0x1001 => decode_within::<T, 0x1_0000>(bytes),
        0x1001..0x1_0001 => decode_within::<T, 0x10_0000>(bytes),
        0x1_0001..0x10_0001 => decode_within::<T, 0x100_0000>(bytes),
        _ => decode_within::<T, 0x4000_0000>(bytes),
    };
    match decoded {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError::Malformed(format!("{} bytes left over", bytes.len() - used))),
        Err(error) => Err(CodecError::Malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_lies_is_refused_before_memory_is_taken() {
        let text = [&[0xfd][..], &(1u64 << 60).to_le_bytes(), b"abc"].concat();
        assert!(matches!(decode::<String>(&text), Err(CodecError::Malformed(_))));
        assert!(matches!(decode::<Vec<u64>>(&text), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn what_is_long_reads_back() {
        for len in [0, 250, 257, 5_000, 70_000, 1_100_000] {
            let value = ("x".repeat(len), vec![1u64; len], vec![u64::MAX; len / 8], vec![7u128; len]);
            assert_eq!(decode(&encode(&value)), Ok(value), "{len}");
        }
    }
}
