//! Whether the servers keep what they acknowledge: asked of every new connection, because a server may come
//! back otherwise than it went.

use redis::aio::ConnectionLike;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{RedisError, Value};

use super::connection::{Connection, Trouble};

/// Setting, what it must be, and why.
const NEEDED: [(&str, &str, &str); 4] = [
    ("appendonly", "yes", "without the append-only file a restart loses what came after the last snapshot"),
    ("appendfsync", "always", "otherwise it answers before it is on the disk"),
    ("no-appendfsync-on-rewrite", "no", "otherwise it does not sync while the file is rewritten"),
    ("maxmemory-policy", "noeviction", "otherwise it throws records away when memory is short"),
];

/// Refuses servers that lose what they acknowledged, and those that do not say, unless loss is accepted.
pub(super) async fn check(connection: &mut Connection, accept_loss: bool) -> Result<(), Trouble> {
    let wrong = match settings(connection).await {
        Ok(settings) => wrong(&settings),
        Err(error) if error.code().is_some() => vec![format!("it does not say how it is configured ({error})")],
        Err(error) => return Err(Trouble::Refused(error.to_string())),
    };
    if wrong.is_empty() {
        return Ok(());
    }
    let reasons = wrong.join("; ");
    if accept_loss {
        tracing::warn!(reasons, "this Redis may lose what it acknowledges: store.redis.accept_loss");
        return Ok(());
    }
    Err(Trouble::Unfit(format!(
        "this Redis may lose what it acknowledges: {reasons} (store.redis.accept_loss = true accepts that)"
    )))
}

/// Name and value of each setting, of each server.
async fn settings(connection: &mut Connection) -> Result<Vec<(String, String)>, RedisError> {
    let mut all = Vec::new();
    for (name, ..) in NEEDED {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(name);
        let answers = match connection {
            Connection::Single(connection) => vec![connection.req_packed_command(&ask).await?.extract_error()?],
            Connection::Cluster(connection) => {
                let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));
                match connection.route_command(ask, everywhere).await?.extract_error()? {
                    Value::Map(answers) => answers.into_iter().map(|(_, answer)| answer).collect(),
                    other => vec![other],
                }
            }
        };
        for answer in answers {
            let pairs: Vec<(String, String)> = redis::from_redis_value(answer)?;
            all.extend(pairs);
        }
    }
    Ok(all)
}

fn wrong(settings: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, needed, why) in NEEDED {
        let is = |(of, value): &(String, String)| of == name && value != needed;
        match settings.iter().find(|setting| is(setting)) {
            Some((_, value)) => wrong.push(format!("{name} is {value:?} and must be {needed:?}: {why}")),
            None if !settings.iter().any(|(of, _)| of == name) => wrong.push(format!("it does not say {name}")),
            None => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_must_keep_what_it_acknowledges() {
        let good: Vec<(String, String)> =
            NEEDED.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(wrong(&good), Vec::<String>::new());
        assert_eq!(wrong(&[]).len(), 4);
        let mut second = good.clone();
        second[1].1 = "everysec".to_owned();
        let told = wrong(&[good, second].concat());
        assert!(told.len() == 1 && told[0].starts_with("appendfsync is \"everysec\""), "{told:?}");
    }
}
