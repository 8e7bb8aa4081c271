use std::collections::BTreeMap;
use std::io::Write;

use super::layers::Value;
use super::*;
use crate::actors::runtime::wire::WireVersion;
use crate::fuzz::{Verdict, decoder};
use crate::persistence::open::{Slots as StoreSlots, StoreChoice, StoreSettings, Tuning};
use crate::persistence::postgres::SslMode;

fn load(file: &str, environment: &[(&str, &str)], options: &[(&'static str, &'static str, &str)]) -> Loaded {
    let mut written = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    written.write_all(file.as_bytes()).expect("written");
    let sources = Sources {
        file: Some(written.path()),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        options: options.iter().map(|(option, key, value)| (*option, *key, (*value).to_owned())).collect(),
    };
    Loaded { result: Config::load(&sources), path: written.path().display().to_string() }
}

struct Loaded {
    result: Result<Config, ConfigErrors>,
    path: String,
}

impl Loaded {
    fn config(self) -> Config {
        self.result.expect("a valid configuration")
    }
    /// The problems as printed, with `FILE` for the file's path.
    fn problems(self) -> Vec<String> {
        let problems = self.result.expect_err("problems").0;
        problems.iter().map(|problem| problem.to_string().replace(&self.path, "FILE")).collect()
    }
}

#[test]
fn the_shipped_defaults_are_valid() {
    let config = Config::default();
    assert_eq!(config.http.addr.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data.dir, PathBuf::from("./data"));
    assert!(config.limits.exempt.iter().any(|block| block.contains("127.0.0.1".parse().expect("an address"))));
    assert!(config.auth.hashes_max >= 1);
}

#[test]
fn every_key_is_documented() {
    let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), "no comment above: {}", pair[1]);
    }
}

/// Every setting by the path of its field. What is between settings is not looked at.
fn fields(environment: Vec<(String, String)>) -> Option<BTreeMap<String, serde_json::Value>> {
    fn walk(path: &str, value: serde_json::Value, found: &mut BTreeMap<String, serde_json::Value>) {
        let serde_json::Value::Object(members) = value else {
            assert!(found.insert(path.to_owned(), value).is_none(), "{path} is there once");
            return;
        };
        for (name, value) in members {
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            walk(&path, value, found);
        }
    }
    let (layers, problems) = Layers::gather(&Sources { environment, ..Sources::default() });
    assert_eq!(problems, []);
    let mut reader = Reader::new(&layers);
    let config = Config::read(&mut reader);
    let mut found = BTreeMap::new();
    walk("", serde_json::to_value(config).expect("it can be written"), &mut found);
    reader.into_problems().is_empty().then_some(found)
}

/// Texts that another value of the same setting may have.
fn other_values(default: &Value) -> Vec<String> {
    match default {
        Value::Integer(number) => [number + 1_000, number - 1, number + 1].map(|number| number.to_string()).into(),
        Value::Text(_) => {
            ["other", "127.0.0.1:1", "fjall", "Forwarded", "disable", "true", "json"].map(str::to_owned).into()
        }
        Value::List(_) => ["10.0.0.0/8", "https://shop.example.com"].map(str::to_owned).into(),
    }
}

#[test]
fn every_key_is_one_field_of_the_same_name_and_every_field_a_key() {
    let (layers, _) = Layers::gather(&Sources::default());
    let shipped = fields(Vec::new()).expect("the defaults are valid");
    assert_eq!(shipped.keys().collect::<Vec<_>>(), layers.keys().collect::<Vec<_>>());
    for key in layers.keys() {
        let (default, _) = layers.get(key).expect("it is there");
        let variable = format!("SOUK_{}", key.replace('.', "__").to_uppercase());
        let changed = other_values(default).into_iter().find_map(|other| fields(vec![(variable.clone(), other)]));
        let changed = changed.unwrap_or_else(|| panic!("{key} takes another value"));
        let differs: Vec<_> = changed.iter().filter(|(field, value)| shipped[*field] != **value).collect();
        assert_eq!(differs.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), [key]);
    }
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let file = "[cart]\nttl_ms = 1_000\n[http]\naddr = \"127.0.0.1:1\"\n[stock]\nlow_at = 7\n";
    let environment = [("SOUK_CART__TTL_MS", "2_000"), ("SOUK_HTTP__ADDR", "127.0.0.1:2"), ("SOUK_SERVICE_HOST", "x")];
    let config = load(file, &environment, &[("--http", "http.addr", "127.0.0.1:3")]).config();
    assert_eq!((config.stock.low_at, config.cart.ttl_ms), (7, 2_000));
    assert_eq!(config.http.addr.to_string(), "127.0.0.1:3");
}

#[test]
fn lists_come_from_the_file_and_from_the_environment() {
    let file = "[http]\ncors.origins = [\"https://shop.example.com\"]\n";
    let config = load(file, &[("SOUK_LIMITS__EXEMPT", "10.0.0.0/8, ::1"), ("SOUK_HTTP__TRUSTED_PROXIES", "")], &[]);
    let config = config.config();
    assert_eq!(config.http.cors.origins, ["https://shop.example.com"]);
    assert_eq!(config.limits.exempt.len(), 2);
    assert_eq!(config.http.trusted_proxies, []);
    let any = load("", &[("SOUK_HTTP__CORS__ORIGINS", "*")], &[]).config();
    assert_eq!(any.http.cors.origins, ["*"]);
}

#[test]
fn all_problems_are_reported_at_once_with_key_and_place() {
    let file = "[cart]\nttl_m = 5\n\n[http]\nbody_max_bytes = \"big\"\nactive_max = 12\n[nonsense]\nx = true\n";
    let environment = [("SOUK_CARD__TTL_MS", "5"), ("SOUK_STOCK__LOW_AT", "few"), ("SOUK_LIMITS__EXEMPT", "everyone")];
    let options = [("--store", "store.kind", "oracle"), ("--http", "http.addr", "localhost")];
    let problems = load(file, &environment, &options).problems();
    assert_eq!(
        problems,
        [
            "FILE:2: cart.ttl_m: unknown key; did you mean cart.ttl_ms?",
            "FILE:5: http.body_max_bytes: must be an integer, not string",
            "FILE:8: nonsense.x: unknown key; config/default.toml has them all",
            "SOUK_CARD__TTL_MS: card.ttl_ms: unknown key; did you mean cart.ttl_ms?",
            "SOUK_STOCK__LOW_AT: stock.low_at: must be an integer, not \"few\"",
            "--http: http.addr: expected an IP address and port such as 127.0.0.1:8080, not \"localhost\"",
            "FILE:6: http.active_max: must be 256 to 1000000, not 12",
            "--store: store.kind: must be one of sled, fjall, postgres, redis, memory, not \"oracle\"",
            "SOUK_LIMITS__EXEMPT: limits.exempt: expected an address or a block such as 10.0.0.0/8, not \"everyone\"",
        ]
    );
}

#[test]
fn syntax_errors_and_a_missing_file_are_problems_like_any_other() {
    let problems = load("[cart\nttl_ms = 5\n", &[("SOUK_STOCK__LOW_AT", "few")], &[]).problems();
    assert!(problems.iter().any(|problem| problem.starts_with("FILE:1: ")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("SOUK_STOCK__LOW_AT: ")), "{problems:?}");
    let missing = Sources { file: Some(Path::new("/nowhere/souk.toml")), ..Sources::default() };
    let problems = Config::load(&missing).expect_err("a problem").to_string();
    assert!(problems.contains("/nowhere/souk.toml: cannot be read"), "{problems}");
}

#[test]
fn keys_that_contradict_each_other_are_reported() {
    let problems = load("[complete]\ndeadline_ms = 40_000\n[store]\nslots = 1000\n", &[], &[]).problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("FILE:2: complete.deadline_ms: must be less than"), "{problems:?}");
    assert!(problems[1].starts_with("FILE:4: store.slots: must be a power of two"), "{problems:?}");
}

#[test]
fn what_contradicts_itself_about_the_store_is_reported() {
    let problems = load("", &[("SOUK_STORE__POSTGRES__ROOT_CERT_FILE", "ca.pem")], &[]).problems();
    let unprotected = "is for nothing unless store.postgres.sslmode is verify-full";
    assert_eq!(
        problems,
        [format!("SOUK_STORE__POSTGRES__ROOT_CERT_FILE: store.postgres.root_cert_file: {unprotected}")]
    );
    let problems = load("[store.postgres]\nwrite_ms = 1_000\n", &[], &[]).problems();
    assert!(problems[0].contains("store.postgres.lock_ms: must be less than store.postgres.write_ms"), "{problems:?}");
}

#[test]
fn the_store_is_opened_as_it_is_configured() {
    let file = "[store]\nkind = \"postgres\"\nurl = \"postgres://db/souk\"\n[store.postgres]\nreaders_max = 3\n\
        sslmode = \"verify-full\"\nroot_cert_file = \"ca.pem\"\n";
    let config = load(file, &[], &[]).config();
    let named = "postgres://db/souk".parse().expect("an address");
    for settings in [config.store_settings(), config.settings_of(named, StoreSlots::Stored)] {
        let StoreSettings { choice: StoreChoice::Postgres { url }, tuning: Tuning { postgres, .. }, .. } = settings
        else {
            panic!("{settings:?}")
        };
        assert_eq!((url.as_str(), postgres.readers_max, postgres.sslmode), ("postgres://db/souk", 3, SslMode::Verify));
        assert_eq!(postgres.root_cert_file, Path::new("ca.pem"));
    }
}

#[test]
fn a_store_in_redis_is_opened_as_it_is_configured() {
    let file = "[store]\nkind = \"redis\"\nurl = \"rediss://db\"\n[store.redis]\nanswer_ms = 4_000\n\
        root_cert_file = \"ca.pem\"\n";
    let config = load(file, &[], &[]).config();
    let named = "rediss://db".parse().expect("an address");
    for settings in [config.store_settings(), config.settings_of(named, StoreSlots::Stored)] {
        let StoreSettings { choice: StoreChoice::Redis { url }, tuning: Tuning { redis, .. }, .. } = settings else {
            panic!("{settings:?}")
        };
        assert_eq!((url.as_str(), redis.answer_ms), ("rediss://db", 4_000));
        assert_eq!(redis.root_cert_file, Path::new("ca.pem"));
    }
    let problems = load("[store.redis]\nclient_key_file = \"k\"\n", &[], &[]).problems();
    assert!(problems.len() == 1 && problems[0].contains("store.redis.client_key_file"), "{problems:?}");
}

#[test]
fn the_address_of_a_store_is_never_shown() {
    let mut config = Config::default();
    config.store.url = "postgres://souk:password@db/souk".to_owned();
    assert!(!format!("{config:?}").contains("password"));
}

#[test]
fn nodes_are_linked_as_it_is_configured_and_the_secret_is_never_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "a secret in a file\n").expect("written");
    let link = |text: &str| {
        let config = load(text, &[], &[]).config();
        assert!(!format!("{config:?}").contains("a secret"));
        config
            .link(crate::cluster::NodeId::of("a#1"), "a", "a store")
            .map(|settings| settings.inspect(|settings| assert!(!format!("{settings:?}").contains("a secret"))))
    };
    assert!(link("").expect("no link").is_none());
    let given = "[cluster]\nlisten = \"127.0.0.1:0\"\nheartbeat_ms = 100\n";
    let settings = link(&format!("{given}secret = \"a secret of sixteen\"\n")).expect("a secret").expect("a link");
    assert_eq!(settings.pulse.dead_after.as_millis(), 400);
    let by_file = link(&format!("{given}secret_file = {:?}\n", file.display().to_string()));
    let expected = crate::cluster::link::Secret::new(b"a secret in a file").expect("long enough");
    assert_eq!(by_file.expect("a secret").expect("a link").secret, expected, "without the line break");
    std::fs::write(&file, "short").expect("written");
    let short = link(&format!("{given}secret_file = {:?}\n", file.display().to_string()));
    assert!(matches!(short, Err(SecretError::Short)));
    let missing = link(&format!("{given}secret_file = \"/nowhere/secret\"\n"));
    assert!(matches!(missing, Err(SecretError::File { .. })));
}

#[test]
fn a_secret_that_is_not_given_is_made_of_the_stores_address() {
    let made = |listen: &str, store: &str| {
        let cluster = format!("[cluster]\nlisten = \"{listen}\"\nadvertise = \"a:1\"\n");
        let file = format!("{cluster}[store]\nkind = \"postgres\"\n{store}\n");
        let config = load(&file, &[], &[]).config();
        config.link(crate::cluster::NodeId::of("a#1"), "a", "a store").map(|settings| settings.expect("a link").secret)
    };
    let secret = |listen: &str, url: &str| made(listen, &format!("url = \"{url}\""));
    let local = secret("127.0.0.1:0", "postgres://db/souk").expect("on this machine alone");
    let known = secret("10.0.0.1:0", "postgres://souk:pw@db/souk").expect("whoever knows the password");
    assert!(local != known && known == secret("0.0.0.0:1", "postgres://souk:pw@db/souk").expect("the same"));
    for url in ["postgres://db/souk", "postgres://souk@db/souk", "postgres://souk:@db/souk"] {
        assert!(matches!(secret("10.0.0.1:0", url), Err(SecretError::None)), "{url}");
    }
    let several = made("10.0.0.1:0", "urls = [\"postgres://souk:pw@db/souk\", \"postgres://souk:pw2@db2/souk\"]");
    assert!(several.expect("of the first server, which has the node list") == known);
}

#[test]
fn what_a_node_needs_to_be_linked_belongs_together() {
    let file = "[cluster]\nlisten = \"0.0.0.0:7400\"\n[cluster.tls]\nca = \"ca.pem\"\n";
    let problems = load(file, &[("SOUK_CLUSTER__SECRET", "short")], &[]).problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("cluster.secret: must have at least 16 bytes") && !problems[0].contains("short"));
    assert!(problems[1].contains("cluster.advertise: must be given"), "{problems:?}");
    assert!(problems[2].contains("cluster.tls.ca: cluster.tls.cert and"), "{problems:?}");
    let problems = load("[cluster]\nlisten = \"127.0.0.1:1\"\nadvertise = \"host\"\n", &[], &[]).problems();
    assert!(problems[0].contains("cluster.advertise: must be HOST:PORT"), "{problems:?}");
}

#[test]
fn a_node_says_that_it_reads_what_its_program_knows_or_what_it_is_held_at() {
    let (first, ours) = (WireVersion::FIRST.0, WireVersion::OURS.0);
    let reads = |text: &str| load(text, &[], &[]).config().cluster.reads();
    assert_eq!(reads(""), (first, ours));
    let held = "[cluster]\nlisten = \"127.0.0.1:0\"\nwire_max = 1\n";
    assert_eq!(reads(held), (first, 1));
    let link = load(held, &[], &[]).config().link(crate::cluster::NodeId::of("a#1"), "a", "a store");
    assert_eq!(link.expect("a secret").expect("a link").versions, (first, 1));
    let problems = load("", &[("SOUK_CLUSTER__WIRE_MAX", &(ours + 1).to_string())], &[]).problems();
    assert_eq!(problems, [format!("SOUK_CLUSTER__WIRE_MAX: cluster.wire_max: must be 0 to {ours}, not {}", ours + 1)]);
}

/// A file, and behind a zero byte variables of the environment, one a line.
#[test]
fn fuzz_configuration() {
    let variables = b"\0SOUK_HTTP__ADDR=127.0.0.1:1\nSOUK_LIMITS__EXEMPT=10.0.0.0/8,::1/128\nSOUK_CART__TTL_MS=1_000";
    let file = b"[http]\nbody_max_bytes = 0x1000\ntrusted_proxies = [\"10.0.0.0/8\"]\n[http.cors]\norigins = [\"*\"]\n";
    let seeds = [DEFAULT_TOML.as_bytes().to_vec(), file.to_vec(), variables.to_vec(), [&file[..], variables].concat()];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("souk.toml");
    decoder("configuration", seeds, |bytes| {
        let (file, variables) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        std::fs::write(&path, file).expect("written");
        let variables = String::from_utf8_lossy(variables).into_owned();
        let variables = variables.lines().filter_map(|line| line.trim_start_matches('\0').split_once('='));
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        match Config::load(&Sources { file: Some(&path), environment, options: Vec::new() }) {
            Ok(config) => Verdict::accepted(config.http.active_max >= 256, "settings are within their bounds"),
            Err(problems) if problems.0.is_empty() => Verdict::Wrong("it fails without a reason".into()),
            Err(problems) => {
                problems.to_string();
                Verdict::Refused
            }
        }
    });
}
