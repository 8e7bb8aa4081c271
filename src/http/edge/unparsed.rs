//! What is answered to bytes that are no request, and to a request whose head does not come in time.
//!
//! hyper itself answers bytes that are no request: with 400, 414 or 431 and an empty body. It has no hook for this
//! answer, so the stream that hyper writes to recognises it and writes a problem instead. Such an answer has at most
//! the fields `connection: close`, `content-length: 0` and `date`; every answer of the router has more, such as its
//! request id.
//!
//! hyper reads the next head only after the last answer has been taken, so its refusal is a write of its own, also
//! behind good requests on the same connection. There is one exception: an answer that was given before the end of its
//! request's body, and that the client does not take while it sends the rest and then bytes that are no request. Then
//! hyper writes both answers at once, and the refusal goes out as hyper made it.
//!
//! When a head does not come in time, hyper ends the connection without an answer. [`RefusalWriter::too_late`] gives
//! one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::StatusCode;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::http::answer::problem::{Code, Problem};
use crate::http::request::idempotency::random_request_id;
use crate::metrics::Metrics;

/// RFC 9110, 5.6.7.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Longer than any head that hyper makes by itself.
const HEAD_MAX_BYTES: usize = 256;

/// A stream that gives hyper's own refusals a body.
pub struct RefusalWriter<S> {
    stream: S,
    metrics: Arc<Metrics>,
    /// The bytes that are sent in place of those that hyper is writing, and how many of them have been sent.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S: AsyncWrite + Unpin> RefusalWriter<S> {
    pub fn new(stream: S, metrics: Arc<Metrics>) -> RefusalWriter<S> {
        RefusalWriter { stream, metrics, instead: None }
    }

    /// Tells a client that its head took too long to come, and ends the connection. Errors: the client has gone.
    pub async fn too_late(mut self) -> io::Result<()> {
        let date = time::OffsetDateTime::now_utc().format(HTTP_DATE).unwrap_or_default();
        let head = format!("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ndate: {date}");
        self.count(StatusCode::REQUEST_TIMEOUT);
        self.stream.write_all(&problem_bytes(StatusCode::REQUEST_TIMEOUT, &head)).await?;
        self.stream.shutdown().await
    }

    fn count(&self, status: StatusCode) {
        self.metrics.http_requests.with_label_values(&["unmatched", "other", status.as_str()]).inc();
    }

    /// Writes a problem in place of a bare refusal. hyper offers the same bytes until they count as written, and they
    /// do once the whole problem is.
    fn poll_instead(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            let (status, head) = bare_refusal(bytes)?;
            self.count(status);
            self.instead = Some((problem_bytes(status, head), 0));
        }
        let Some((text, taken)) = &mut self.instead else { return None };
        while *taken < text.len() {
            let written = match Pin::new(&mut self.stream).poll_write(context, &text[*taken..]) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            };
            *taken += written;
        }
        self.instead = None;
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

/// The status and the lines of a head that hyper has made by itself; `None` for anything else.
fn bare_refusal(bytes: &[u8]) -> Option<(StatusCode, &str)> {
    if bytes.len() > HEAD_MAX_BYTES || !bytes.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (first, fields) = head.split_once("\r\n")?;
    let status = StatusCode::from_bytes(first.split(' ').nth(1)?.as_bytes()).ok()?;
    let is_hypers = |line: &str| {
        line.eq_ignore_ascii_case("connection: close")
            || line.eq_ignore_ascii_case("content-length: 0")
            || line.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("date: "))
    };
    let known = matches!(status.as_u16(), 400 | 414 | 431) && fields.split("\r\n").all(is_hypers);
    known.then_some((status, head))
}

/// The answer in the words of the API. The connection ends behind it.
fn problem_bytes(status: StatusCode, head: &str) -> Vec<u8> {
    let id = random_request_id();
    let (request_id, trace_id) = (id.to_string(), data_encoding::HEXLOWER.encode(&id.0));
    let problem = match Code::of_status(status) {
        Code::BadRequest => Problem::new(Code::BadRequest).detail("This is no HTTP/1.1 request."),
        code => Problem::new(code),
    };
    let body = problem.to_json(&request_id, &trace_id);
    let kept: String = head
        .split("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("content-length"))
        .fold(String::new(), |kept, line| kept + line + "\r\n");
    let length = body.len();
    let fields = format!(
        "content-type: application/problem+json\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {request_id}\r\n\r\n"
    );
    [kept.as_bytes(), fields.as_bytes(), &body].concat()
}

impl<S: AsyncRead + Unpin> AsyncRead for RefusalWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RefusalWriter<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.poll_instead(context, bytes) {
            Some(written) => written,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (full.next(), full.next())
            && let Some(written) = self.poll_instead(context, only)
        {
            return written;
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\
                        date: Fri, 27 Nov 2026 09:00:00 GMT\r\n\r\n";

    #[test]
    fn only_a_bare_refusal_is_taken_for_one() {
        assert_eq!(bare_refusal(BARE.as_bytes()).map(|(status, _)| status), Some(StatusCode::BAD_REQUEST));
        for other in [
            BARE.replace("400 Bad Request", "404 Not Found"),
            BARE.replace("400 Bad Request", "200 OK"),
            BARE.replace("date: ", "x-request-id: "),
            BARE.replace("content-length: 0", "content-length: 10"),
            format!("{BARE}{{}}"),
            format!("HTTP/1.1 204 No Content\r\n\r\n{BARE}"),
            "HTTP/1.1 4".into(),
            "{}".into(),
        ] {
            assert_eq!(bare_refusal(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_with_a_date() {
        use tokio::io::AsyncReadExt;
        let (near, mut far) = tokio::io::duplex(4096);
        RefusalWriter::new(near, Arc::new(Metrics::new())).too_late().await.expect("it is taken");
        let mut told = String::new();
        far.read_to_string(&mut told).await.expect("text, and an end");
        let (head, body) = told.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ndate: "), "{head}");
        let date = head.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
        assert!(date.len() == 29 && date.ends_with(" GMT") && date.as_bytes()[3] == b',', "{date}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some("request_timeout"), Some(408)));
    }

    #[tokio::test]
    async fn a_problem_goes_out_whole_over_a_narrow_stream() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let metrics = Arc::new(Metrics::new());
        let (near, mut far) = tokio::io::duplex(7);
        let mut stream = RefusalWriter::new(near, metrics);
        let write = async {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("it is taken");
            stream.write_all(BARE.as_bytes()).await.expect("it is taken");
            drop(stream);
        };
        let mut told = String::new();
        let (_, read) = tokio::join!(write, far.read_to_string(&mut told));
        read.expect("text");
        let (head, body) = told
            .split_once("\r\n\r\nHTTP/1.1 400 Bad Request\r\n")
            .expect("both answers")
            .1
            .split_once("\r\n\r\n")
            .expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], "bad_request");
        assert!(
            head.contains("connection: close") && head.contains("content-type: application/problem+json"),
            "{head}"
        );
    }
}
