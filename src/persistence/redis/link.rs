//! A connection that comes back. What it answers says for certain whether a command can have had an effect:
//! making a connection and using it are two steps here, because a failure of the first is harmless and one of
//! the second is not.
//!
//! Two defaults of the client are traps and are set here: it gives up on an answer after 500 ms (a server
//! that rewrites its log under load is slower), and it leaves TCP_NODELAY off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, ServerErrorKind, TlsCertificates, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::tls::choose_provider;
use super::address::{Address, tcp_settings};
use super::connection::{Connection, Trouble};
use super::{guard, scripts};

/// After a connection could not be made, everybody is told so for this long without another try.
const REST: Duration = Duration::from_millis(100);
/// Commands that may wait to be sent.
const QUEUE: usize = 1_024;

/// How often the client of a Redis Cluster sends a command again by itself: slots move, and while they do they are soon
/// refused. The waits between, in milliseconds.
const RETRIES: u32 = 4;
const RETRY_WAIT_MS: (u64, u64) = (10, 200);

/// What every new connection is held against.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// How long making a connection may take.
    pub connect: Duration,
    /// How long an answer may take; then it is lost.
    pub answer: Duration,
    pub accept_loss: bool,
    /// With TLS.
    pub certificates: Option<TlsCertificates>,
}

pub(super) struct Link {
    address: Address,
    terms: Terms,
    current: Mutex<Current>,
    /// How often a server was found to be no primary any more: what was connected before is used no more.
    turns: Arc<AtomicU64>,
    /// When something was answered last.
    answered: parking_lot::Mutex<Instant>,
}

#[derive(Default)]
struct Current {
    connection: Option<Connection>,
    /// Counts connections, so that one is given up only by whom it failed.
    number: u64,
    /// Of [`Link::turns`], when it was made.
    turn: u64,
    failed: Option<(Instant, Trouble)>,
    is_closed: bool,
}

impl Link {
    pub fn new(address: Address, terms: Terms) -> Link {
        let (turns, answered) = (Arc::default(), parking_lot::Mutex::new(Instant::now()));
        Link { address, terms, current: Mutex::default(), turns, answered }
    }

    /// Another to the same servers. What one finds of a fail-over the other heeds too: a read may be answered by a
    /// replica, and too late.
    pub fn another(&self) -> Link {
        Link { turns: self.turns.clone(), ..Link::new(self.address.clone(), self.terms.clone()) }
    }

    /// The connection, made if there is none.
    async fn connection(&self) -> Result<(Connection, u64), Trouble> {
        let mut current = self.current.lock().await;
        if current.is_closed {
            return Err(Trouble::Failed("the store is closed".to_owned()));
        }
        let turn = self.turns.load(Ordering::Acquire);
        if let Some(connection) = &current.connection
            && current.turn == turn
        {
            return Ok((connection.clone(), current.number));
        }
        if let Some((at, why)) = &current.failed
            && at.elapsed() < REST
        {
            let (until, why) = (*at + REST, why.clone());
            drop(current);
            // Whoever asks again at once must not do so a thousand times a second.
            tokio::time::sleep_until(until).await;
            return Err(why);
        }
        let connecting = tokio::time::timeout(self.terms.connect, connect(&self.address, &self.terms));
        match connecting.await.unwrap_or_else(|_| Err(Trouble::Refused("connecting took too long".to_owned()))) {
            Ok(connection) => {
                current.number += 1;
                current.turn = turn;
                current.failed = None;
                current.connection = Some(connection.clone());
                Ok((connection, current.number))
            }
            Err(why) => {
                current.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn give_up(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.number == number {
            current.connection = None;
        }
    }

    /// How soon a connection must have failed for what was sent to be sent again.
    pub fn patience(&self) -> Duration {
        self.terms.answer / 2
    }

    pub async fn close(&self) {
        let mut current = self.current.lock().await;
        current.connection = None;
        current.is_closed = true;
    }

    /// Whether the servers are a Redis Cluster: keys of different hash tags lie on different machines then.
    pub async fn is_cluster(&self) -> Result<bool, Trouble> {
        Ok(matches!(self.connection().await?.0, Connection::Cluster(_)))
    }

    /// Sends one command.
    pub async fn ask(&self, command: Cmd) -> Result<Value, Trouble> {
        let mut answers = self.ask_all(&[command]).await?;
        answers.pop().unwrap_or_else(|| Err(Trouble::Lost("no answer".to_owned())))
    }

    /// Sends commands, all at once, and answers each. The outer error is of all of them: nothing was sent.
    pub async fn ask_all(&self, commands: &[Cmd]) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let (mut connection, number) = self.connection().await?;
        let mut answers = self.send(&mut connection, number, commands).await;
        // A script that the server has forgotten was not run: it is sent again with its text. What was run has its answer
        // already, whatever becomes of that.
        let forgotten = |n: &usize| matches!(&answers[*n], Sent::Answered(Err(error)) if is_no_script(error));
        let again: Vec<usize> = (0..answers.len()).filter(forgotten).collect();
        if !again.is_empty() {
            let commands: Vec<Cmd> = again.iter().map(|n| scripts::in_full(&commands[*n])).collect();
            let second = self.send(&mut connection, number, &commands).await;
            again.into_iter().zip(second).for_each(|(n, answer)| answers[n] = answer);
        }
        Ok(answers.into_iter().map(|sent| self.told(sent)).collect())
    }

    fn told(&self, sent: Sent) -> Result<Value, Trouble> {
        match sent {
            Sent::Answered(answer) => answer.map_err(|error| trouble(&error)),
            Sent::Silent => Err(Trouble::Lost(format!("no answer for {} ms", self.terms.answer.as_millis()))),
        }
    }

    async fn send(&self, connection: &mut Connection, number: u64, commands: &[Cmd]) -> Vec<Sent> {
        let answers = send(connection, commands, self.terms.answer).await;
        let is_lost = |sent: &&Sent| match sent {
            Sent::Answered(Ok(_)) => false,
            Sent::Answered(Err(error)) => matches!(trouble(error), Trouble::Lost(_)),
            Sent::Silent => true,
        };
        let lost = answers.iter().filter(is_lost).count();
        // The connection to a Redis Cluster has one to each machine, and mends them by itself: it is given up when no
        // machine has answered for long.
        let is_gone = match connection {
            Connection::Single(_) => lost > 0,
            Connection::Cluster(_) => lost == answers.len() && lost > 0 && self.is_silent(),
        };
        if answers.iter().any(|sent| matches!(sent, Sent::Answered(Err(error)) if is_no_primary(error))) {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
        if lost < answers.len() {
            *self.answered.lock() = Instant::now();
        }
        if is_gone {
            tracing::debug!(lost, "a connection to Redis is given up");
            self.give_up(number).await;
        }
        answers
    }

    fn is_silent(&self) -> bool {
        self.answered.lock().elapsed() > self.terms.answer * 2
    }
}

/// What became of a command.
enum Sent {
    Answered(Result<Value, RedisError>),
    /// Nobody knows.
    Silent,
}

/// Each has its own answer, or none within the time.
async fn send(connection: &mut Connection, commands: &[Cmd], within: Duration) -> Vec<Sent> {
    let said = |answer: Result<Value, RedisError>| Sent::Answered(answer.and_then(Value::extract_error));
    match connection {
        Connection::Single(connection) if commands.len() == 1 => {
            let answer = tokio::time::timeout(within, connection.req_packed_command(&commands[0])).await;
            vec![answer.map_or(Sent::Silent, said)]
        }
        Connection::Single(connection) => {
            let mut pipeline = Pipeline::with_capacity(commands.len());
            commands.iter().for_each(|command| {
                pipeline.add_command(command.clone());
            });
            let answers = connection.req_packed_commands(&pipeline, 0, commands.len());
            match tokio::time::timeout(within, answers).await {
                Ok(Ok(mut answers)) => {
                    let missing = commands.len().saturating_sub(answers.len());
                    let silent = std::iter::repeat_with(|| Sent::Silent).take(missing);
                    answers.drain(..).map(|answer| said(Ok(answer))).chain(silent).collect()
                }
                Ok(Err(error)) => commands.iter().map(|_| Sent::Answered(Err(error.clone()))).collect(),
                Err(_) => commands.iter().map(|_| Sent::Silent).collect(),
            }
        }
        // Each goes to the machine that has its keys, all of them at once: one that does not answer is no concern of
        // the others.
        Connection::Cluster(connection) => {
            let asked = commands.iter().map(|command| {
                let mut connection = connection.clone();
                async move { tokio::time::timeout(within, connection.req_packed_command(command)).await }
            });
            let answers = futures::future::join_all(asked).await;
            answers.into_iter().map(|answer| answer.map_or(Sent::Silent, said)).collect()
        }
    }
}

async fn connect(address: &Address, terms: &Terms) -> Result<Connection, Trouble> {
    choose_provider();
    let said = |error: RedisError| Trouble::Refused(error.to_string());
    let nobody = || Trouble::Unfit("no server is named".to_owned());
    let first = address.servers.first().ok_or_else(nobody)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(terms.connect))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    let mut reached = Err(nobody());
    for server in &address.servers {
        let client = match &terms.certificates {
            Some(certificates) => Client::build_with_tls(server.clone(), certificates.clone()),
            None => Client::open(server.clone()),
        };
        let client = client.map_err(|error| Trouble::Unfit(error.to_string()))?;
        reached = client.get_multiplexed_async_connection_with_config(&config).await.map_err(said);
        if reached.is_ok() {
            break;
        }
    }
    let mut connection = reached?;
    let replication: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await.map_err(said)?;
    let cluster: String = redis::cmd("INFO").arg("cluster").query_async(&mut connection).await.map_err(said)?;
    let is_cluster = cluster.contains("cluster_enabled:1");
    // After a fail-over its address may still be the one that we know.
    if !is_cluster && !replication.contains("role:master") {
        return Err(Trouble::Refused("the server is a replica".to_owned()));
    }
    let mut connection = if is_cluster {
        if first.redis_settings().db() != 0 {
            return Err(Trouble::Unfit("a Redis Cluster has no databases but 0".to_owned()));
        }
        let mut builder = redis::cluster::ClusterClientBuilder::new(address.servers.clone())
            .tcp_settings(tcp_settings())
            .connection_timeout(terms.connect)
            .response_timeout(terms.answer)
            .retries(RETRIES)
            .min_retry_wait(RETRY_WAIT_MS.0)
            .max_retry_wait(RETRY_WAIT_MS.1);
        if let Some(certificates) = &terms.certificates {
            builder = builder.certs(certificates.clone());
        }
        let client = builder.build().map_err(said)?;
        Connection::Cluster(client.get_async_connection().await.map_err(said)?)
    } else {
        Connection::Single(connection)
    };
    guard::check(&mut connection, terms.accept_loss).await?;
    may_do_everything(&mut connection, &address.prefix, terms.answer).await?;
    Ok(connection)
}

/// A script that is refused a command half-way does not undo what it has done before: so this user must be allowed all of
/// them. (A server that takes no writes now is asked another time: it may be read all the same.)
async fn may_do_everything(connection: &mut Connection, prefix: &str, within: Duration) -> Result<(), Trouble> {
    let tried = send(connection, &[scripts::in_full(&scripts::probe(prefix))], within).await.pop();
    match tried {
        Some(Sent::Answered(Ok(_))) => Ok(()),
        Some(Sent::Answered(Err(error))) => Err(match trouble(&error) {
            Trouble::Refused(why) if !why.contains("NOPERM") => return Ok(()),
            Trouble::Lost(why) if error.code().is_none() => Trouble::Refused(why),
            _ => Trouble::Unfit(format!("souk's user of Redis may not do all that it has to: {error}")),
        }),
        Some(Sent::Silent) | None => Err(Trouble::Refused("no answer to the first script".to_owned())),
    }
}

/// Whether the server has become a replica: what is sent there is refused for ever.
fn is_no_primary(error: &RedisError) -> bool {
    let of = |code: &str| error.code() == Some(code) || error.to_string().contains(&format!("-{code} "));
    of("READONLY") || of("MASTERDOWN")
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

fn is_refused_within_a_script(text: &str) -> bool {
    const RIGHTS: [&str; 4] = ["NOPERM", "can't run this command", "ACL failure", "permissions to"];
    text.contains("script") && RIGHTS.iter().any(|words| text.contains(words))
}

/// What an error means for what was asked. Everything that the server refuses for a reason of its own it
/// refuses before the first write of a script.
fn trouble(error: &RedisError) -> Trouble {
    const REFUSALS: [&str; 17] = [
        "OOM",
        "MISCONF",
        "READONLY",
        "LOADING",
        "BUSY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "NOREPLICAS",
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "MOVED",
        "ASK",
        "NOSCRIPT",
        "CROSSSLOT",
        "DENIED",
    ];
    let text = error.to_string();
    match error.code() {
        // Perhaps half-way: what a user may do was changed while it is connected. (Versions say it in different words.)
        Some(_) if is_refused_within_a_script(&text) => Trouble::Lost(text),
        Some(code) if REFUSALS.contains(&code) => Trouble::Refused(text),
        // Older servers wrap what a script was refused.
        Some(_) if REFUSALS.iter().any(|code| text.contains(&format!("-{code} "))) => Trouble::Refused(text),
        Some(_) if text.contains("max number of clients") => Trouble::Refused(text),
        Some(_) => Trouble::Failed(text),
        None => Trouble::Lost(text),
    }
}
