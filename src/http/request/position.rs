//! `Souk-Position`: how far the journal was when something was done. Whoever has it from an answer, perhaps another
//! node's, may send it with a list, which then waits until it shows at least that.

use axum::http::HeaderMap;

use crate::actors::values::{Invalid, JournalPosition};
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::answer::reply::SOUK_POSITION;

/// The positions that one request may name.
pub const POSITIONS_MAX: usize = 16;

/// The positions that a request names, in all lines of the field together.
///
/// Errors: 400 `invalid_header` for what is no position in a journal of so many slots, and for too many.
pub fn positions(headers: &HeaderMap, slots: u16) -> Result<Vec<JournalPosition>> {
    let invalid = |why: &str| Problem::new(Code::InvalidHeader).detail(format!("Souk-Position: {why}."));
    let lines = headers.get_all(SOUK_POSITION).iter().map(|line| line.to_str());
    let lines: std::result::Result<Vec<&str>, _> = lines.collect();
    let lines = lines.map_err(|_| invalid("there are characters outside of ASCII"))?;
    named(lines, slots).map_err(|error| invalid(error.0))
}

/// The positions in texts that have commas between them. Errors: as with [`positions`].
pub fn named<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    slots: u16,
) -> std::result::Result<Vec<JournalPosition>, Invalid> {
    let mut positions = Vec::new();
    for text in texts.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        let position: JournalPosition = text.parse()?;
        if position.slot >= slots {
            return Err(Invalid("not a position that was answered here"));
        }
        if positions.len() == POSITIONS_MAX {
            return Err(Invalid("at most 16 positions"));
        }
        positions.push(position);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(fields: &[&str]) -> Result<Vec<JournalPosition>> {
        let fields = fields.iter().map(|field| (SOUK_POSITION, HeaderValue::from_str(field).expect("a header's text")));
        positions(&fields.collect(), 8)
    }

    #[test]
    fn all_lines_of_the_field_count() {
        let [a, b, c] = [1, 2, 3].map(|slot| JournalPosition { slot, seq: 5, epoch: 1 });
        assert_eq!(of(&[]).ok(), Some(vec![]));
        assert_eq!(of(&[&format!("{a}, {b}"), "", &format!("{c}")]).ok(), Some(vec![a, b, c]));
    }

    #[test]
    fn what_is_no_position_here_is_refused() {
        let elsewhere = JournalPosition { slot: 8, seq: 5, epoch: 1 }.to_string();
        let many = vec![JournalPosition { slot: 1, seq: 5, epoch: 1 }.to_string(); POSITIONS_MAX + 1].join(",");
        for field in ["x", "42", elsewhere.as_str(), many.as_str(), "1AQIAAAAAAAAAAwAAAAAAAAAE é"] {
            assert!(of(&[field]).is_err(), "{field}");
        }
    }
}
