//! Checks the quotes of a CSV by RFC 4180 before its fields are read. A CSV reader takes what it finds: a quote that
//! is never closed swallows every row behind it, and `"6"50` is read as 650. Nobody can tell what was meant, so such a
//! file is refused as a whole, with the line where the quote opened.
//!
//! A quote opens only at the start of a field; `""` inside is one quote; behind the closing one come a delimiter or
//! the row's end. A quote inside a bare field (`12" plate`) is text, as everywhere.

use std::io::{self, Read};

/// The longest row. Beyond it a quote was left open, or the file is not a CSV. This bounds the memory that one field
/// takes.
pub const ROW_BYTES_MAX: usize = 1 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, PartialEq)]
enum At {
    FieldStart,
    Bare,
    Quoted,
    /// Behind a quote inside quotes: it closes the field, or is the first half of `""`.
    Quote,
}

/// Passes the bytes of `input` on for as long as their quotes are right.
pub struct Quotes<R> {
    input: R,
    delimiter: u8,
    at: At,
    /// From the start of the file: only of interest for a byte order mark.
    position: usize,
    line: u64,
    opened_at: u64,
    row_starts_at: u64,
    row_bytes: usize,
}

impl<R: Read> Quotes<R> {
    pub fn new(input: R, delimiter: u8) -> Quotes<R> {
        let (line, opened_at, row_starts_at) = (1, 1, 1);
        Quotes { input, delimiter, at: At::FieldStart, position: 0, line, opened_at, row_starts_at, row_bytes: 0 }
    }

    fn step(&mut self, byte: u8) -> io::Result<()> {
        let is_bom = BOM.get(self.position) == Some(&byte) && self.position == self.row_bytes;
        self.position += 1;
        self.row_bytes += 1;
        if self.row_bytes > ROW_BYTES_MAX {
            return Err(self.too_long());
        }
        if is_bom {
            return Ok(());
        }
        self.at = match (self.at, byte) {
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (At::Quote, b'"') => At::Quoted,
            (At::FieldStart, b'"') => {
                self.opened_at = self.line;
                At::Quoted
            }
            (_, b'\n' | b'\r') => {
                (self.row_bytes, self.row_starts_at) = (0, self.line + u64::from(byte == b'\n'));
                At::FieldStart
            }
            (_, byte) if byte == self.delimiter => At::FieldStart,
            (At::FieldStart | At::Bare, _) => At::Bare,
            (At::Quote, _) => {
                let why = "there is text behind the quote that closes the field";
                return Err(refused(format!("line {}: {why} opened here", self.opened_at)));
            }
        };
        self.line += u64::from(byte == b'\n');
        Ok(())
    }

    fn too_long(&self) -> io::Error {
        match self.at {
            At::Quoted => self.never_closed(),
            At::FieldStart | At::Bare | At::Quote => {
                refused(format!("line {}: the row is longer than {ROW_BYTES_MAX} bytes", self.row_starts_at))
            }
        }
    }

    fn never_closed(&self) -> io::Error {
        refused(format!("line {}: the quote that opens here is not closed", self.opened_at))
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        if length == 0 && !buffer.is_empty() && self.at == At::Quoted {
            return Err(self.never_closed());
        }
        buffer[..length].iter().try_for_each(|byte| self.step(*byte))?;
        Ok(length)
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<String, String> {
        let mut out = String::new();
        // one byte at a time: the state lives through the seams of reads
        let mut quotes = Quotes::new(text.as_bytes(), b',');
        let mut byte = [0];
        loop {
            match quotes.read(&mut byte) {
                Ok(0) => return Ok(out),
                Ok(_) => out.push(char::from(byte[0])),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn right_quotes_pass_unchanged() {
        for text in ["a,b\n", "\"a\",\"b \"\"x\"\"\r\nc\"\n", "12\" plate,b\"\"c\n", "\"\",\"\"", "", "\"a\"\r\"b\"\r"]
        {
            assert_eq!(judged(text).as_deref(), Ok(text));
        }
        assert!(Quotes::new("\u{feff}\"a\",b\n".as_bytes(), b',').read_to_end(&mut Vec::new()).is_ok());
        assert!(Quotes::new("\u{feff}\"a\"b\n".as_bytes(), b',').read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn wrong_quotes_are_refused_with_the_line_where_they_open() {
        for (text, line) in [
            ("a\n\"b\nc\nd", 2),
            ("a\nb\n\"c\"d\n", 3),
            ("a,\"b\nc\" ,d\n", 1),
            ("\"a\n\"\n\"b\"\"\nc\n", 3),
            ("a\r\nb,\"", 2),
        ] {
            let why = judged(text).expect_err(text);
            assert!(why.starts_with(&format!("line {line}: ")), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_row_without_an_end_is_refused_before_it_fills_the_memory() {
        let endless = io::repeat(b'x').take(ROW_BYTES_MAX as u64 * 2);
        let mut quotes = Quotes::new("a\n".as_bytes().chain(endless), b',');
        let why = io::copy(&mut quotes, &mut io::sink()).expect_err("too long").to_string();
        assert!(why.starts_with("line 2: the row is longer"), "{why}");
    }
}
