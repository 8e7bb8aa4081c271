//! A message that comes in pages, put together again.

use bytes::{Bytes, BytesMut};

use super::super::outcome::EndWhy;

/// One message of a lane, of which pages are missing.
#[derive(Debug)]
struct Begun<T> {
    what: T,
    total: usize,
    bytes: BytesMut,
}

/// A lane as it comes in: one message under way at most.
#[derive(Debug)]
pub struct Assembly<T>(Option<Begun<T>>);

impl<T> Default for Assembly<T> {
    fn default() -> Assembly<T> {
        Assembly(None)
    }
}

impl<T> Assembly<T> {
    /// A message begins. What comes out is whole.
    pub fn begin(
        &mut self,
        what: T,
        total: usize,
        page: Bytes,
        total_max: usize,
    ) -> Result<Option<(T, Bytes)>, EndWhy> {
        if self.0.is_some() {
            return Err(EndWhy::Malformed);
        }
        if total > total_max {
            return Err(EndWhy::Flood);
        }
        if page.len() == total {
            return Ok(Some((what, page)));
        }
        // A message of pages grows with them: its length is only a claim.
        self.0 = Some(Begun { what, total, bytes: BytesMut::from(&page[..]) });
        Ok(None)
    }

    /// The message that is under way goes on.
    pub fn go_on(&mut self, page: &[u8]) -> Result<Option<(T, Bytes)>, EndWhy> {
        let begun = self.0.as_mut().ok_or(EndWhy::Malformed)?;
        if page.len() > begun.total - begun.bytes.len() {
            return Err(EndWhy::Malformed);
        }
        begun.bytes.extend_from_slice(page);
        if begun.bytes.len() < begun.total {
            return Ok(None);
        }
        Ok(self.0.take().map(|begun| (begun.what, begun.bytes.freeze())))
    }
}
