//! The handshake on a connection: the messages of [`super::hello`], with their I/O. Nothing of it allocates more than a few
//! KiB, and whoever calls it bounds its time.

use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};

use data_encoding::HEXLOWER;
use rand::RngCore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::hello::{HELLO_MAX, Hello, MAGIC, NONCE, OPEN, Refusal, TAG, Transcript, VERSION};
use super::secret::Secret;

/// Two nodes that have proven themselves to each other, and agreed to be linked.
#[derive(Debug)]
pub struct Met {
    pub peer: Hello,
    /// What only these two know, and only of this connection.
    pub cookie: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it speaks something else, or another version of the handshake")]
    NotLink,
    /// Seen by who dials: the other end has closed the connection when it saw the proof.
    #[error("it ended the connection at the proof: most likely its cluster.secret is another one")]
    NotBelieved,
    #[error("it does not know cluster.secret")]
    NotProven,
    #[error("{0}")]
    Refused(Refusal),
    /// The acceptor's verdict, where the dialer sees no reason itself.
    #[error("it refuses the link (reason {0})")]
    Verdict(u8),
}

const ACCEPTED: u8 = 0;
const PROOF: &str = "proof of the dialer";
const HELLO_ACCEPTOR: &str = "hello of the acceptor";
const HELLO_DIALER: &str = "hello of the dialer";
const VERDICT: &str = "verdict";

/// The dialer's part. `introduce` sees who answers, and says who this node is, or why there is nothing to be said.
pub async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: Secret,
    channel: &[u8],
    introduce: impl FnOnce(&Hello) -> Result<Hello, Refusal>,
) -> Result<Met, HandshakeError> {
    let mut said = Transcript::new(secret, channel);
    let mut open = Vec::with_capacity(OPEN);
    open.extend_from_slice(MAGIC);
    open.extend_from_slice(&VERSION.to_le_bytes());
    open.extend_from_slice(&nonce());
    said.say("open", &open);
    write(stream, &open).await?;

    let mut challenge = [0; NONCE];
    stream.read_exact(&mut challenge).await?;
    said.say("challenge", &challenge);
    said.say(PROOF, &[]);
    write(stream, &said.tag()).await?;

    let peer = match read_sealed(stream, &mut said, HELLO_ACCEPTOR).await {
        Ok(hello) => Hello::decode(&hello).map_err(|_| HandshakeError::NotLink)?,
        Err(HandshakeError::Io(error)) if matches!(error.kind(), UnexpectedEof | ConnectionReset) => {
            return Err(HandshakeError::NotBelieved);
        }
        Err(error) => return Err(error),
    };
    let hello = introduce(&peer).map_err(HandshakeError::Refused)?;
    write_sealed(stream, &mut said, HELLO_DIALER, &hello.encode()).await?;
    match read_sealed(stream, &mut said, VERDICT).await?[..] {
        [ACCEPTED] => Ok(Met { peer, cookie: cookie(&mut said) }),
        [code, ..] => Err(ordinary(code).map_or(HandshakeError::Verdict(code), HandshakeError::Refused)),
        [] => Err(HandshakeError::NotLink),
    }
}

/// The acceptor's part. `judge` sees who dials, and says why there is no link where there is none.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: Secret,
    channel: &[u8],
    hello: &Hello,
    judge: impl FnOnce(&Hello) -> Result<(), Refusal>,
) -> Result<Met, HandshakeError> {
    let mut said = Transcript::new(secret, channel);
    let mut open = [0; OPEN];
    stream.read_exact(&mut open).await?;
    let version = u16::from_le_bytes([open[MAGIC.len()], open[MAGIC.len() + 1]]);
    if !open.starts_with(MAGIC) || version != VERSION {
        return Err(HandshakeError::NotLink);
    }
    said.say("open", &open);
    let challenge = nonce();
    said.say("challenge", &challenge);
    write(stream, &challenge).await?;

    let mut proof = [0; TAG];
    stream.read_exact(&mut proof).await?;
    said.say(PROOF, &[]);
    if !said.is_tag(&proof) {
        return Err(HandshakeError::NotProven);
    }
    write_sealed(stream, &mut said, HELLO_ACCEPTOR, &hello.encode()).await?;
    let peer = read_sealed(stream, &mut said, HELLO_DIALER).await?;
    let peer = Hello::decode(&peer).map_err(|_| HandshakeError::NotLink)?;
    let verdict = judge(&peer);
    let code = verdict.as_ref().map_or_else(Refusal::code, |()| ACCEPTED);
    write_sealed(stream, &mut said, VERDICT, &[code]).await?;
    verdict.map_err(HandshakeError::Refused)?;
    Ok(Met { peer, cookie: cookie(&mut said) })
}

/// The refusals that the dialer can only learn from the verdict, and need nobody's attention.
fn ordinary(code: u8) -> Option<Refusal> {
    [Refusal::AlreadyLinked, Refusal::Yield, Refusal::Stopping].into_iter().find(|refusal| refusal.code() == code)
}

fn cookie(said: &mut Transcript) -> String {
    said.say("cookie", &[]);
    HEXLOWER.encode(&said.tag())
}

fn nonce() -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    rand::thread_rng().fill_bytes(&mut nonce);
    nonce
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), HandshakeError> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(())
}

/// Length, bytes and the tag of everything up to them.
async fn write_sealed<S: AsyncWrite + Unpin>(
    stream: &mut S,
    said: &mut Transcript,
    name: &str,
    bytes: &[u8],
) -> Result<(), HandshakeError> {
    said.say(name, bytes);
    let mut message = Vec::with_capacity(2 + bytes.len() + TAG);
    message.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    message.extend_from_slice(bytes);
    message.extend_from_slice(&said.tag());
    write(stream, &message).await
}

async fn read_sealed<S: AsyncRead + Unpin>(
    stream: &mut S,
    said: &mut Transcript,
    name: &str,
) -> Result<Vec<u8>, HandshakeError> {
    let length = usize::from(stream.read_u16_le().await?);
    if length > HELLO_MAX {
        return Err(HandshakeError::NotLink);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    let mut tag = [0; TAG];
    stream.read_exact(&mut tag).await?;
    said.say(name, &bytes);
    if said.is_tag(&tag) { Ok(bytes) } else { Err(HandshakeError::NotProven) }
}
