//! HTTP by hand: hostile clients use no library.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::server::PATIENCE;

pub struct Wire {
    stream: TcpStream,
    /// Read and not yet used.
    rest: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Wire {
    pub fn open(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Wire { stream, rest: Vec::new() }
    }

    /// Lets the kernel take next to nothing on behalf of this client.
    pub fn take_little(self) -> Wire {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, 8 * 1024).expect("an option");
        self
    }

    /// Sends what may be half a request. An error is the server's ending the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request).expect("it takes the request");
        self.answer().expect("an answer")
    }

    /// The next answer; `None` when the connection has ended before.
    pub fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            match self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.fill()?,
            }
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.rest.len() < end + length {
            self.fill()?;
        }
        let body = String::from_utf8_lossy(&self.rest[end..end + length]).into_owned();
        self.rest.drain(..end + length);
        Some(Answer { status, head, body })
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => {
                self.rest.extend_from_slice(&buffer[..read]);
                Some(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither an answer nor an end")
            }
            Err(_) => None,
        }
    }

    /// Waits until the server has ended the connection, reading what it says before.
    pub fn until_ended(&mut self) {
        while self.fill().is_some() {}
    }

    /// Whether the server has ended the connection by now.
    pub fn has_ended(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("an option");
        let mut buffer = [0; 4 * 1024];
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) => self.rest.extend_from_slice(&buffer[..read]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).expect("an option");
        ended
    }

    /// Sends as much as the other end takes without being read from.
    pub fn stuff(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(true).expect("an option");
        let _ = self.stream.write_all(bytes); // full at some point, or ended
        self.stream.set_nonblocking(false).expect("an option");
    }

    /// Says that it will send nothing more, and stays.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }
}
