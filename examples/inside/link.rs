//! Requests with their replies between two processes, over the link of a cluster: what a hop costs, and what batching gives
//! when many ask. Beside it, a bare TCP connection that sends the same bytes there and back.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use souk::cluster::NodeId;
use souk::cluster::link::{Arrivals, Link, LinkSettings, Peer, ReplyHandle, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Options;
use super::tally::tally;

const CALLERS: [usize; 5] = [1, 16, 64, 256, 1_000];
const WITHIN: Duration = Duration::from_secs(10);
const SECRET: &[u8] = b"a secret for measuring";

/// Sends each request back.
struct Echo {
    linked: watch::Sender<Option<NodeId>>,
}

impl Arrivals for Echo {
    fn asked(&self, _: &NodeId, request: Bytes, reply: ReplyHandle) {
        reply.send(request);
    }
    fn told(&self, _: &NodeId, _: Bytes) {}
    fn link_up(&self, peer: &NodeId) {
        self.linked.send_replace(Some(peer.clone()));
    }
    fn link_down(&self, _: &NodeId) {
        self.linked.send_replace(None);
    }
}

async fn start(id: &str) -> anyhow::Result<(Link, watch::Receiver<Option<NodeId>>)> {
    let secret = Secret::new(SECRET).context("it is long enough")?;
    let settings = LinkSettings::new(NodeId::of(id), "127.0.0.1:0".parse()?, secret, "measured");
    let linked = watch::Sender::new(None);
    let watched = linked.subscribe();
    Ok((Link::start(settings, Arc::new(Echo { linked })).await?, watched))
}

/// The other process: answers until it is left alone.
pub async fn peer(options: Options) -> anyhow::Result<Value> {
    let address = options.peer.context("--peer is needed")?;
    let bare = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", bare.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = bare.accept().await {
            let _ = stream.set_nodelay(true); // it is only slower without
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let (link, _) = start("b#1").await?;
    link.set_peers(vec![Peer { id: NodeId::of("a#1"), address }]);
    let mut end = Vec::new();
    tokio::io::stdin().read_to_end(&mut end).await?; // the other process ends, or says so
    link.stop().await;
    Ok(Value::Null)
}

pub async fn measure(options: Options) -> anyhow::Result<Value> {
    let (link, mut linked) = start("a#1").await?;
    let mut other = tokio::process::Command::new(std::env::current_exe()?)
        .args(["link-peer", "--peer", link.advertise()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut bare = String::new();
    let mut output = tokio::io::BufReader::new(other.stdout.take().context("its output")?);
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut bare).await?;
    let peer = linked.wait_for(Option::is_some).await?.clone().context("a peer")?;

    let mut told = Map::new();
    told.insert("tcp_1".to_owned(), round_trips(bare.trim(), &options).await?);
    let request = Bytes::from(vec![7; options.bytes]);
    for callers in CALLERS {
        let before = link.counters().frames_sent.get();
        let state = || (link.clone(), peer.clone(), request.clone());
        let mut row = tally(
            callers,
            options.time,
            |_| state(),
            |(link, peer, request), _| async move {
                let reply = link.request(&peer, request.clone(), WITHIN).await?;
                anyhow::ensure!(reply.len() == request.len(), "the reply is the request");
                Ok((link, peer, request))
            },
        )
        .await?;
        let frames = link.counters().frames_sent.get() - before;
        row["requests_per_frame"] = json!(row["count"].as_f64().unwrap_or_default() / frames.max(1) as f64);
        told.insert(format!("callers_{callers}"), row);
    }
    let counters: Map<String, Value> =
        link.counters().each().into_iter().map(|(name, _, value)| (name.to_owned(), json!(value))).collect();
    told.insert("counters".to_owned(), Value::Object(counters));
    drop(other.stdin.take());
    other.wait().await?;
    Ok(Value::Object(told))
}

async fn round_trips(address: &str, options: &Options) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let once = Arc::new(tokio::sync::Mutex::new((stream, vec![7; options.bytes])));
    tally(
        1,
        options.time,
        |_| once.clone(),
        |once, _| async move {
            let (stream, bytes) = &mut *once.lock().await;
            stream.write_all(bytes).await?;
            stream.read_exact(bytes).await?;
            Ok(once.clone())
        },
    )
    .await
}
