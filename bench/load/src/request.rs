//! Requests as bytes, made before the clock runs where that is possible.

use std::borrow::Cow;

/// What a journey has learnt from its first answer.
#[derive(Debug, Clone, Default)]
pub struct Learnt {
    pub id: String,
    pub token: String,
}

enum Request {
    Ready(Vec<u8>),
    Template { head: String, body: String },
}

pub struct Requests(Vec<Request>);

impl Requests {
    pub fn parse(text: &str) -> Result<Requests, String> {
        let mut requests = Vec::new();
        for line in text.lines() {
            let parts: Vec<&str> = line.splitn(4, '\t').collect();
            let [method, path, headers, body] = parts[..] else {
                return Err(format!("a request has four parts: {line:?}"));
            };
            let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
            for header in headers.split('|').filter(|header| !header.is_empty()) {
                head.push_str(header);
                head.push_str("\r\n");
            }
            let is_template = ["{n}", "{a}", "{b}", "{c}", "{id}", "{token}"]
                .iter()
                .any(|name| head.contains(name) || body.contains(name));
            requests.push(if is_template {
                Request::Template { head, body: body.to_owned() }
            } else {
                Request::Ready(bytes(&head, body))
            });
        }
        if requests.is_empty() { Err("there are no requests".into()) } else { Ok(Requests(requests)) }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes of one request, for the `n`th time that something is sent.
    pub fn bytes(&self, index: usize, n: u64, picks: u64, learnt: &Learnt) -> Cow<'_, [u8]> {
        match &self.0[index] {
            Request::Ready(bytes) => Cow::Borrowed(bytes),
            Request::Template { head, body } => {
                let fill = |text: &str| fill(text, n, picks, learnt);
                Cow::Owned(bytes(&fill(head), &fill(body)))
            }
        }
    }
}

fn bytes(head: &str, body: &str) -> Vec<u8> {
    if body.is_empty() {
        return format!("{head}content-length: 0\r\n\r\n").into_bytes();
    }
    format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn fill(text: &str, n: u64, picks: u64, learnt: &Learnt) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        filled.push_str(before);
        let names: [(&str, &dyn Fn() -> String); 6] = [
            ("{n}", &|| format!("{n:010}")),
            ("{a}", &|| format!("{:06}", (n * 3) % picks)),
            ("{b}", &|| format!("{:06}", (n * 3 + 1) % picks)),
            ("{c}", &|| format!("{:06}", (n * 3 + 2) % picks)),
            ("{id}", &|| learnt.id.clone()),
            ("{token}", &|| learnt.token.clone()),
        ];
        match names.iter().find(|(name, _)| after.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(&value());
                rest = &after[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &after[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}
