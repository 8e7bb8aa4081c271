//! The settings of this node as a member of a cluster, and of its links to the others.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Config;
use super::reader::Reader;
use crate::actors::runtime::wire::WireVersion;
use crate::cluster::NodeId;
use crate::cluster::link::{LinkSettings, SECRET_MIN, Secret, TlsFiles, pulse};
use crate::cluster::protocol::settings::Settings;

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Cluster {
    pub lease_ms: u64,
    pub moves_max: usize,
    pub weight: u32,
    pub zone: String,
    /// 0: the newest that this program knows.
    pub wire_max: u16,
    /// None: this node serves alone.
    pub listen: Option<SocketAddr>,
    /// Empty: as it listens.
    pub advertise: String,
    pub secret: SecretText,
    pub secret_file: PathBuf,
    pub heartbeat_ms: u64,
    pub tls: ClusterTls,
}

/// A text that is not shown.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct SecretText(String);

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ClusterTls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// An address, or nothing where the text is empty.
struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Listen, Self::Err> {
        if text.is_empty() { Ok(Listen(None)) } else { text.parse().map(|address| Listen(Some(address))) }
    }
}

impl Cluster {
    pub(super) fn read(r: &mut Reader<'_>) -> Cluster {
        let Listen(listen) = r.parsed("cluster.listen", "an IP address and port such as 10.0.0.1:7400, or nothing", "");
        Cluster {
            lease_ms: r.number("cluster.lease_ms", 500..=60_000),
            moves_max: r.size("cluster.moves_max", 1..=1_024),
            weight: r.number("cluster.weight", 0..=10_000),
            zone: r.text("cluster.zone", 0..=64),
            wire_max: r.number("cluster.wire_max", 0..=i64::from(WireVersion::OURS.0)),
            listen,
            advertise: r.text("cluster.advertise", 0..=256),
            secret: SecretText(r.text("cluster.secret", 0..=4_096)),
            secret_file: r.text("cluster.secret_file", 0..=4_096).into(),
            heartbeat_ms: r.number("cluster.heartbeat_ms", 20..=1_000),
            tls: ClusterTls {
                ca: r.text("cluster.tls.ca", 0..=4_096).into(),
                cert: r.text("cluster.tls.cert", 0..=4_096).into(),
                key: r.text("cluster.tls.key", 0..=4_096).into(),
            },
        }
    }

    pub(super) fn relations(&self, r: &mut Reader<'_>) {
        let (has_secret, has_file) = (!self.secret.0.is_empty(), !is_empty(&self.secret_file));
        let long_enough = !has_secret || self.secret.0.len() >= SECRET_MIN;
        r.require(
            "cluster.secret",
            long_enough,
            &format!("must have at least {SECRET_MIN} bytes, or it is found by trying"),
        );
        let why = "and cluster.secret say the same: give one of them";
        r.require("cluster.secret_file", !(has_secret && has_file), why);
        let why = "must be HOST:PORT, such as shop-1:7400";
        r.require("cluster.advertise", self.advertise.is_empty() || is_host_and_port(&self.advertise), why);
        let everywhere = self.listen.is_some_and(|address| address.ip().is_unspecified());
        let why = "must be given where cluster.listen is all addresses: nobody can connect to those";
        r.require("cluster.advertise", !everywhere || !self.advertise.is_empty(), why);
        let ClusterTls { ca, cert, key } = &self.tls;
        let given = [ca, cert, key].iter().filter(|path| !is_empty(path)).count();
        let why = "cluster.tls.cert and cluster.tls.key belong together: give all of them, or none";
        r.require("cluster.tls.ca", given == 0 || given == 3, why);
    }

    /// Times and bounds of the protocol.
    pub fn protocol(&self) -> Settings {
        Settings { moves_max: self.moves_max, ..Settings::of_lease(Duration::from_millis(self.lease_ms)) }
    }

    /// The oldest and the newest version of messages that this node says it reads.
    pub fn reads(&self) -> (u16, u16) {
        let newest = if self.wire_max == 0 { WireVersion::OURS.0 } else { self.wire_max };
        (WireVersion::FIRST.0, newest)
    }

    /// How this node is linked to the others; none where it serves alone. `cluster` says which store this is, and
    /// into how many slots it is divided.
    fn link(
        &self,
        node: NodeId,
        name: &str,
        cluster: &str,
        store_url: &str,
    ) -> Result<Option<LinkSettings>, SecretError> {
        let Some(listen) = self.listen else { return Ok(None) };
        let ClusterTls { ca, cert, key } = self.tls.clone();
        let mut settings = LinkSettings::new(node, listen, self.secret(store_url)?, cluster);
        settings.name = name.to_owned();
        settings.versions = self.reads();
        settings.advertise.clone_from(&self.advertise);
        settings.tls = (!is_empty(&ca)).then_some(TlsFiles { ca, cert, key });
        settings.pulse = pulse(Duration::from_millis(self.heartbeat_ms));
        Ok(Some(settings))
    }

    /// Where none is given it is made of the address of the store: who knows that, with its password, can do all that a node
    /// can. An address without a password is a secret on this machine alone.
    fn secret(&self, store_url: &str) -> Result<Secret, SecretError> {
        if self.secret.0.is_empty() && is_empty(&self.secret_file) {
            let is_local = self.listen.is_some_and(|address| address.ip().is_loopback());
            if !is_local && !has_password(store_url) {
                return Err(SecretError::None);
            }
            let made = Sha256::digest(format!("souk cluster {store_url}"));
            return Secret::new(&made).ok_or(SecretError::Short);
        }
        if is_empty(&self.secret_file) {
            return Secret::new(self.secret.0.as_bytes()).ok_or(SecretError::Short);
        }
        let file = self.secret_file.clone();
        let read = std::fs::read(&file).map_err(|error| SecretError::File { file, error })?;
        Secret::new(read.strip_suffix(b"\n").unwrap_or(&read)).ok_or(SecretError::Short)
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cluster.secret_file: {file} cannot be read: {error}", file = file.display())]
    File { file: PathBuf, error: std::io::Error },
    #[error("cluster.secret or cluster.secret_file is needed, because store.url has no password to make one of")]
    None,
    #[error("the cluster's secret must have at least {SECRET_MIN} bytes")]
    Short,
}

impl Config {
    /// How this node is linked to the others; none where it serves alone. `cluster` says which store this is, and
    /// into how many slots it is divided.
    pub fn link(&self, node: NodeId, name: &str, cluster: &str) -> Result<Option<LinkSettings>, SecretError> {
        // Of several servers the first: it has the node list, and stays the first when others are added.
        let store_url = self.store.urls.first().unwrap_or(&self.store.url);
        self.cluster.link(node, name, cluster, store_url)
    }
}

fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    user.is_some_and(|(_, password)| !password.is_empty()) || url.contains("password=")
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[redacted]" })
    }
}
