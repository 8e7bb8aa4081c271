//! One connection: what it still has to write, and the answer that it is reading.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;

use crate::request::Learnt;

pub struct Connection {
    pub stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    /// The request that waits for its answer.
    pub pending: Option<Pending>,
    pub learnt: Learnt,
}

#[derive(Debug, Clone, Copy)]
pub struct Pending {
    pub n: u64,
    pub step: usize,
    pub since: Instant,
}

/// An answer, with where its body is in the buffer.
pub struct Answer {
    pub status: u16,
    pub retry_after: bool,
    pub closes: bool,
    body: (usize, usize),
}

impl Connection {
    pub fn open(addr: SocketAddr) -> io::Result<Connection> {
        // Connected before the clock runs, so blocking is fine.
        let stream = std::net::TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream: TcpStream::from_std(stream),
            out: Vec::new(),
            written: 0,
            read: Vec::with_capacity(16_384),
            pending: None,
            learnt: Learnt::default(),
        })
    }

    pub fn send(&mut self, bytes: &[u8], pending: Pending) -> io::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(bytes);
        self.written = 0;
        self.pending = Some(pending);
        self.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what there is; the answer once it is whole.
    pub fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Option<Answer>> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.read.extend_from_slice(&scratch[..count]);
                    // Less than there was room for: the socket is empty, and the next bytes wake us.
                    if count < scratch.len() {
                        return self.whole();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.whole(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn whole(&self) -> io::Result<Option<Answer>> {
        let read = &self.read[..];
        let Some(head_end) = find(read, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
        let head = std::str::from_utf8(&read[..head_end]).map_err(|_| io::ErrorKind::InvalidData)?;
        let status: u16 = head.get(9..12).and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let (mut length, mut chunked, mut retry_after, mut closes) = (None, false, false, false);
        for line in head.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            // Only four names matter, and their lengths tell them from nearly all others.
            match name.len() {
                14 if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse::<usize>().ok(),
                17 if name.eq_ignore_ascii_case("transfer-encoding") => chunked = value.contains("chunked"),
                11 if name.eq_ignore_ascii_case("retry-after") => retry_after = true,
                10 if name.eq_ignore_ascii_case("connection") => closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let end = match length {
            Some(length) => head_end + length,
            None if chunked && !read.ends_with(b"0\r\n\r\n") => return Ok(None),
            None => read.len(),
        };
        Ok((read.len() >= end).then_some(Answer { status, retry_after, closes, body: (head_end, end) }))
    }

    /// What the answer has of a text field: the first of that name.
    pub fn field(&self, answer: &Answer, name: &[u8]) -> String {
        let body = &self.read[answer.body.0..answer.body.1];
        let Some(at) = find(body, name) else { return String::new() };
        let value = &body[at + name.len()..];
        let end = value.iter().position(|byte| *byte == b'"').unwrap_or(0);
        String::from_utf8_lossy(&value[..end]).into_owned()
    }

    pub fn body(&self, answer: &Answer) -> String {
        String::from_utf8_lossy(&self.read[answer.body.0..answer.body.1]).into_owned()
    }

    pub fn forget_answer(&mut self) {
        self.read.clear();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
