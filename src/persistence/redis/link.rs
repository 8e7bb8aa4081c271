//! A connection that comes back. What it answers says for certain whether a command can have had an effect:
//! making a connection and using it are two steps here, because a failure of the first is harmless and one of
//! the second is not.
//!
//! Two defaults of the client are traps and are set here: it gives up on an answer after 500 ms (a server
//! that rewrites its log under load is slower), and it leaves TCP_NODELAY off.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, ServerErrorKind, TlsCertificates, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::{Address, tcp_settings};
use super::connection::{Connection, Trouble};
use super::{guard, scripts};

/// After a connection could not be made, everybody is told so for this long without another try.
const REST: Duration = Duration::from_millis(100);
/// Commands that may wait to be sent.
const QUEUE: usize = 1_024;

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
}

#[derive(Default)]
struct Current {
    connection: Option<Connection>,
    /// Counts connections, so that one is given up only by whom it failed.
    number: u64,
    failed: Option<(Instant, Trouble)>,
    is_closed: bool,
}

impl Link {
    pub fn new(address: Address, terms: Terms) -> Link {
        Link { address, terms, current: Mutex::default() }
    }

    /// The connection, made if there is none.
    async fn connection(&self) -> Result<(Connection, u64), Trouble> {
        let mut current = self.current.lock().await;
        if current.is_closed {
            return Err(Trouble::Failed("the store is closed".to_owned()));
        }
        if let Some(connection) = &current.connection {
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

    /// Sends commands, all at once, and answers each. The outer error is of all of them.
    pub async fn ask_all(&self, commands: &[Cmd]) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let (mut connection, number) = self.connection().await?;
        let mut answers = self.send(&mut connection, number, commands).await?;
        let forgotten = |answer: &Result<Value, RedisError>| matches!(answer, Err(error) if is_no_script(error));
        if answers.iter().any(forgotten) {
            // What was forgotten was not run: loaded again and sent again.
            load_scripts(&mut connection).await.map_err(|error| trouble(&error))?;
            let again: Vec<usize> = (0..answers.len()).filter(|n| forgotten(&answers[*n])).collect();
            let commands: Vec<Cmd> = again.iter().map(|n| commands[*n].clone()).collect();
            let second = self.send(&mut connection, number, &commands).await?;
            again.into_iter().zip(second).for_each(|(n, answer)| answers[n] = answer);
        }
        Ok(answers.into_iter().map(|answer| answer.map_err(|error| trouble(&error))).collect())
    }

    async fn send(
        &self,
        connection: &mut Connection,
        number: u64,
        commands: &[Cmd],
    ) -> Result<Vec<Result<Value, RedisError>>, Trouble> {
        let sent = tokio::time::timeout(self.terms.answer, send(connection, commands)).await;
        let lost = match sent {
            Err(_) => Trouble::Lost(format!("no answer for {} ms", self.terms.answer.as_millis())),
            Ok(Err(error)) => trouble(&error),
            Ok(Ok(answers)) => match answers.iter().find_map(|answer| answer.as_ref().err().map(trouble)) {
                Some(Trouble::Lost(why)) => {
                    self.give_up(number).await;
                    tracing::debug!(why, "an answer of Redis is lost");
                    return Ok(answers);
                }
                _ => return Ok(answers),
            },
        };
        self.give_up(number).await;
        Err(lost)
    }
}

async fn send(connection: &mut Connection, commands: &[Cmd]) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    match connection {
        Connection::Single(connection) if commands.len() == 1 => {
            Ok(vec![connection.req_packed_command(&commands[0]).await.and_then(Value::extract_error)])
        }
        Connection::Single(connection) => {
            let mut pipeline = Pipeline::with_capacity(commands.len());
            commands.iter().for_each(|command| {
                pipeline.add_command(command.clone());
            });
            let answers = connection.req_packed_commands(&pipeline, 0, commands.len()).await?;
            Ok(answers.into_iter().map(Value::extract_error).collect())
        }
        // Each goes to the machine that has its keys, all of them at once.
        Connection::Cluster(connection) => {
            let asked = commands.iter().map(|command| {
                let mut connection = connection.clone();
                async move { connection.req_packed_command(command).await.and_then(Value::extract_error) }
            });
            Ok(futures::future::join_all(asked).await)
        }
    }
}

async fn connect(address: &Address, terms: &Terms) -> Result<Connection, Trouble> {
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
    let cluster: String = redis::cmd("INFO").arg("cluster").query_async(&mut connection).await.map_err(said)?;
    let mut connection = if cluster.contains("cluster_enabled:1") {
        if first.redis_settings().db() != 0 {
            return Err(Trouble::Unfit("a Redis Cluster has no databases but 0".to_owned()));
        }
        let mut builder = redis::cluster::ClusterClientBuilder::new(address.servers.clone())
            .tcp_settings(tcp_settings())
            .connection_timeout(terms.connect)
            .response_timeout(terms.answer);
        if let Some(certificates) = &terms.certificates {
            builder = builder.certs(certificates.clone());
        }
        let client = builder.build().map_err(said)?;
        Connection::Cluster(client.get_async_connection().await.map_err(said)?)
    } else {
        Connection::Single(connection)
    };
    guard::check(&mut connection, terms.accept_loss).await?;
    load_scripts(&mut connection).await.map_err(said)?;
    Ok(connection)
}

async fn load_scripts(connection: &mut Connection) -> Result<(), RedisError> {
    for answer in send(connection, &scripts::load()).await? {
        answer?;
    }
    Ok(())
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
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
        Some(code) if REFUSALS.contains(&code) => Trouble::Refused(text),
        // Older servers wrap what a script was refused.
        Some(_) if REFUSALS.iter().any(|code| text.contains(&format!("-{code} "))) => Trouble::Refused(text),
        Some(_) if text.contains("max number of clients") => Trouble::Refused(text),
        Some(_) => Trouble::Failed(text),
        None => Trouble::Lost(text),
    }
}
