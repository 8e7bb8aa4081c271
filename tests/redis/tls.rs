//! TLS to a real server, with authorities and certificates that are made here.

use souk::persistence::StoreError;
use souk::persistence::conformance::{SLOTS, Scribe};
use souk::persistence::redis::{RedisOptions, RedisSettings, RedisStore};

use super::authority::Authority;
use super::process::{Launch, free_port};
use super::server::{CAREFUL, Server};
use super::{changed, name, open_with, options};

struct Secured {
    server: Server,
    port: u16,
    authority: Authority,
    files: tempfile::TempDir,
}

impl Secured {
    /// A server that is called `localhost`, and nothing else. (What it says without TLS is for the test alone.)
    fn new(asks_clients: &str) -> Secured {
        let authority = Authority::new("the shop's authority");
        let files = tempfile::tempdir().expect("a folder");
        let (certificate, key) = authority.certify("localhost");
        let keep = |name: &str, content: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, content).expect("a file");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let (certificate, key) = (keep("server.crt", &certificate), keep("server.key", &key));
        let ca = keep("ca.pem", &authority.pem);
        let port = free_port();
        let port_text = port.to_string();
        let tls = ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let clients = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", asks_clients];
        let server = Server::start(&[CAREFUL, &tls, &clients].concat());
        Secured { server, port, authority, files }
    }

    fn file(&self, name: &str, content: &str) -> std::path::PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Trusting the server's authority, and nobody else.
    fn options(&self, host: &str) -> RedisOptions {
        let url = format!("rediss://{host}:{}/?prefix={}", self.port, name());
        changed(&url, |settings| settings.root_cert_file = self.files.path().join("ca.pem"))
    }
}

async fn refusal(options: RedisOptions) -> String {
    match RedisStore::open(options).await {
        Err(StoreError::Unavailable(why) | StoreError::Fatal(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opens"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_believed_that_shows_a_certificate_of_the_authority_for_its_name() {
    let secured = Secured::new("no");
    let right = secured.options("localhost");
    let mut scribe = Scribe::claim(open_with(right.clone()).await).await;
    let records: Vec<_> = (0..SLOTS).map(|slot| scribe.record(slot, &format!("e{slot}"))).collect();
    scribe.commit(&records).await;
    // A connection that was lost is made again, as protected as the first.
    secured.server.say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    assert_eq!(scribe.feed(0).await, records[..1]);
    let why = refusal(secured.options("127.0.0.1")).await;
    assert!(why.contains("certificate") && why.contains("not valid for"), "another name: {why}");
    let why = refusal(options(&right.url)).await;
    assert!(why.contains("UnknownIssuer"), "none of the usual authorities: {why}");
    let impostor = secured.file("impostor.pem", &Authority::new("the shop's authority").pem);
    let why = refusal(changed(&right.url, |settings| settings.root_cert_file = impostor)).await;
    assert!(why.contains("certificate"), "the authority's name is not enough: {why}");
    let plain = right.url.replace("rediss", "redis");
    let why = refusal(RedisOptions { url: plain.clone(), ..right.clone() }).await;
    assert!(why.contains("does not say rediss://"), "{why}");
    refusal(options(&plain)).await;
    let unprotected = right.url.replace(&secured.port.to_string(), &secured.server.port.to_string());
    refusal(RedisOptions { url: unprotected, ..right }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_shows_its_own_certificate() {
    let secured = Secured::new("yes");
    let trusting = secured.options("localhost");
    refusal(trusting.clone()).await;
    let pair = |of: &Authority, name: &str| {
        let (certificate, key) = of.certify(name);
        let client_cert_file = secured.file(&format!("{name}.crt"), &certificate);
        let client_key_file = secured.file(&format!("{name}.key"), &key);
        RedisSettings { client_cert_file, client_key_file, ..trusting.settings.clone() }
    };
    let with = |settings: RedisSettings| RedisOptions { settings, ..trusting.clone() };
    refusal(with(pair(&Authority::new("somebody"), "other"))).await;
    let own = pair(&secured.authority, "own");
    let half = refusal(with(RedisSettings { client_key_file: "".into(), ..own.clone() })).await;
    assert!(half.contains("needs its key"), "{half}");
    open_with(with(own)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_certificates_are_named() {
    let secured = Secured::new("no");
    let empty = secured.file("empty.pem", "");
    let torn = secured.file("torn.pem", &secured.authority.pem[..200]);
    let nowhere = secured.files.path().join("nowhere.pem");
    for (file, why) in [(empty, "no certificate in it"), (torn, "torn.pem"), (nowhere, "nowhere.pem")] {
        let told = refusal(changed(&secured.options("localhost").url, |settings| settings.root_cert_file = file)).await;
        assert!(told.contains(why) && told.contains("cannot be used for TLS"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn souk_is_configured_for_tls() {
    let secured = Secured::new("no");
    let home = tempfile::tempdir().expect("a folder");
    let RedisOptions { url, settings, .. } = secured.options("localhost");
    let launch = Launch::new(home.path()).args(&["--store", "redis", "--store-url", &url]);
    let launch = launch.env("SOUK_STORE__SLOTS", "8");
    let ca = settings.root_cert_file.display().to_string();
    let souk = launch.clone().env("SOUK_STORE__REDIS__ROOT_CERT_FILE", ca).start();
    assert!(souk.stop().status.success());
    let Err(ended) = launch.try_start() else { panic!("it starts without the authority") };
    assert!(ended.log.contains("UnknownIssuer"), "{}", ended.log);
}
