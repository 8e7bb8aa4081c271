//! Where the store is: `redis://[[user]:password@]host[:port][/database][?prefix=...&nodes=host:port,...]`, and with
//! `rediss://` the same over TLS.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use url::Url;

/// What the names of all keys begin with, unless the address says otherwise.
const PREFIX: &str = "souk";
const PREFIX_BYTES_MAX: usize = 64;

/// A server, or the nodes of a Redis Cluster that are asked first.
#[derive(Clone)]
pub(super) struct Address {
    pub servers: Vec<ConnectionInfo>,
    pub prefix: String,
    pub is_tls: bool,
}

/// Reads an address. The text of an error has no password in it.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    let mut url = Url::parse(text).map_err(|error| format!("not an address: {error}"))?;
    if !matches!(url.scheme(), "redis" | "rediss") {
        let why = "is no address of a Redis server: redis://host:port, or rediss://host:port with TLS";
        return Err(format!("{}:// {why}", url.scheme()));
    }
    // The client would take #insecure for leave not to look who is there.
    if url.fragment().is_some() {
        return Err("there is nothing behind a # in a Redis address".to_owned());
    }
    let mut prefix = PREFIX.to_owned();
    let mut others = Vec::new();
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "prefix" => value.as_ref().clone_into(&mut prefix),
            "nodes" => others.extend(value.split(',').map(str::to_owned)),
            other => return Err(format!("{other} is no parameter of a Redis address: prefix, nodes")),
        }
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(is_plain) {
        return Err(format!("the prefix: 1 to {PREFIX_BYTES_MAX} letters, digits and - _ . :"));
    }
    url.set_query(None);
    let mut servers = vec![info(&url)?];
    for other in others {
        let mut url = url.clone();
        let (host, port) = other.rsplit_once(':').unwrap_or((&other, "6379"));
        let port = port.parse().map_err(|_| format!("{other}: not host:port"))?;
        url.set_host(Some(host)).map_err(|error| format!("{other}: {error}"))?;
        url.set_port(Some(port)).map_err(|()| format!("{other}: not host:port"))?;
        servers.push(info(&url)?);
    }
    Ok(Address { servers, prefix, is_tls: url.scheme() == "rediss" })
}

fn info(url: &Url) -> Result<ConnectionInfo, String> {
    let info = url.as_str().into_connection_info().map_err(|error| error.to_string())?;
    // The first thing that is said is ours, so that the reason is heard when a server takes no more clients.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

pub(super) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<(Vec<String>, String), String> {
        let Address { servers, prefix, .. } = parse(text)?;
        Ok((servers.iter().map(|server| server.addr().to_string()).collect(), prefix))
    }

    #[test]
    fn an_address_names_servers_and_a_prefix() {
        let one = |server: &str, prefix: &str| Ok((vec![server.to_owned()], prefix.to_owned()));
        assert_eq!(told("redis://localhost"), one("localhost:6379", "souk"));
        assert_eq!(told("redis://u:p@db:7000/3?prefix=shop-1"), one("db:7000", "shop-1"));
        assert_eq!(told("rediss://a:1?nodes=b:2").map(|(servers, _)| servers), Ok(vec!["a:1".into(), "b:2".into()]));
        assert!(parse("rediss://a").is_ok_and(|address| address.is_tls));
        let cluster = vec!["a:1".to_owned(), "b:2".to_owned(), "c:6379".to_owned()];
        assert_eq!(told("redis://a:1?nodes=b:2,c"), Ok((cluster, "souk".to_owned())));
        for wrong in
            ["", "localhost", "postgres://a", "rediss://a#insecure", "redis://a?prefix=", "redis://a?prefix={x}"]
        {
            assert!(told(wrong).is_err(), "{wrong}");
        }
        for wrong in ["redis://a?nodes=b:x", "redis://a?timeout=5", "redis://:secret@a?prefix={"] {
            assert!(told(wrong).is_err_and(|why| !why.contains("secret")), "{wrong}");
        }
    }
}
