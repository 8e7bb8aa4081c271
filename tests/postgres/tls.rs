//! TLS to a real server, with authorities and certificates that are made here.

use souk::persistence::StoreError;
use souk::persistence::conformance::Scribe;

use super::authority::Authority;
use super::postgres::Server;
use super::process::Launch;
use super::{open_with, settings};

/// Who shows no certificate may come as `postgres`, who shows one as whom it names; and nobody without TLS.
const HBA: &str = "hostssl all certified all cert\nhostssl all all all trust\nhostnossl all all all reject\n";

struct Secured {
    server: Server,
    authority: Authority,
    files: tempfile::TempDir,
}

impl Secured {
    /// A server that is called `localhost`, and nothing else.
    async fn new() -> Secured {
        let mut server = Server::new(&[]);
        server.database("souk").await;
        let admin = server.client("postgres").await;
        admin.batch_execute("create role certified superuser login").await.expect("a role");
        let authority = Authority::new("the shop's authority");
        let (certificate, key) = authority.certify("localhost");
        server.keep("server.crt", &certificate);
        server.keep("server.key", &key);
        server.keep("authority.crt", &authority.pem);
        server.keep("pg_hba.conf", HBA);
        server.set(&["ssl=on", "ssl_ca_file=authority.crt"]);
        server.stop();
        server.start();
        Secured { server, authority, files: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn ca(&self) -> String {
        self.file("ca.pem", &self.authority.pem)
    }

    fn url(&self, user: &str, host: &str, options: &str) -> String {
        format!("postgres://{user}@{host}:{}/souk{options}", self.server.port)
    }

    async fn refusal(&self, url: &str) -> String {
        match open_with(url, settings()).await {
            Err(StoreError::Unavailable(why) | StoreError::Fatal(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opens"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_believed_that_shows_a_certificate_of_the_authority_for_its_name() {
    let secured = Secured::new().await;
    let ca = secured.ca();
    for mode in ["verify-full", "verify-ca", "require"] {
        let url = secured.url("postgres", "localhost", &format!("?sslmode={mode}&sslrootcert={ca}"));
        let mut scribe = Scribe::claim(open_with(&url, settings()).await.expect(mode)).await;
        let record = scribe.record(0, mode);
        scribe.commit(&[record]).await;
        let elsewhere = secured.url("postgres", "127.0.0.1", &format!("?sslmode={mode}&sslrootcert={ca}"));
        let why = secured.refusal(&elsewhere).await;
        assert!(why.contains("not valid for name"), "{mode}: another name: {why}");
        let nobody_known = secured.url("postgres", "localhost", &format!("?sslmode={mode}"));
        let why = secured.refusal(&nobody_known).await;
        assert!(why.contains("UnknownIssuer"), "{mode}: none of the usual authorities: {why}");
    }
    let impostor = secured.file("impostor.pem", &Authority::new("the shop's authority").pem);
    let wrong = secured.url("postgres", "localhost", &format!("?sslmode=verify-full&sslrootcert={impostor}"));
    let why = secured.refusal(&wrong).await;
    assert!(why.contains("invalid peer certificate"), "the authority's name is not enough: {why}");
    let plain = secured.refusal(&secured.url("postgres", "localhost", "")).await;
    assert!(plain.contains("pg_hba.conf rejects") || plain.contains("no encryption"), "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_shows_its_own_certificate() {
    let secured = Secured::new().await;
    let (certificate, key) = secured.authority.certify("certified");
    let (certificate, key) = (secured.file("own.crt", &certificate), secured.file("own.key", &key));
    let options = format!("?sslmode=verify-full&sslrootcert={}", secured.ca());
    let url = secured.url("certified", "localhost", &options);
    let why = secured.refusal(&url).await;
    assert!(why.contains("certificate"), "{why}");
    let (other, other_key) = Authority::new("somebody").certify("certified");
    let (other, other_key) = (secured.file("other.crt", &other), secured.file("other.key", &other_key));
    secured.refusal(&format!("{url}&sslcert={other}&sslkey={other_key}")).await;
    let half = secured.refusal(&format!("{url}&sslcert={certificate}")).await;
    assert!(half.contains("needs its key"), "{half}");
    open_with(&format!("{url}&sslcert={certificate}&sslkey={key}"), settings()).await.expect("it opens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_certificates_are_named() {
    let secured = Secured::new().await;
    let empty = secured.file("empty.pem", "");
    let torn = secured.file("torn.pem", &secured.authority.pem[..200]);
    for (file, why) in [(empty.as_str(), "no certificate in it"), (&torn, "torn.pem"), ("nowhere.pem", "nowhere.pem")] {
        let url = secured.url("postgres", "localhost", &format!("?sslmode=require&sslrootcert={file}"));
        let told = secured.refusal(&url).await;
        assert!(told.contains(why) && told.contains("cannot be used for TLS"), "{told}");
    }
    let unprotected = secured.refusal(&secured.url("postgres", "localhost", &format!("?sslrootcert={empty}"))).await;
    assert!(unprotected.contains("TLS is not asked for"), "{unprotected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn souk_is_configured_for_tls() {
    let secured = Secured::new().await;
    let home = tempfile::tempdir().expect("a folder");
    let url = secured.url("postgres", "localhost", "");
    let launch = Launch::new(home.path()).args(&["--store", "postgres", "--store-url", &url]);
    let launch = launch.env("SOUK_STORE__SLOTS", "8").env("SOUK_STORE__POSTGRES__SSLMODE", "verify-full");
    let souk = launch.clone().env("SOUK_STORE__POSTGRES__ROOT_CERT_FILE", secured.ca()).start();
    assert!(souk.stop().status.success());
    secured.refusal(&url).await; // nobody comes without TLS
    let launch = launch.env("SOUK_STORE__POSTGRES__ROOT_CERT_FILE", "nowhere.pem");
    let Err(ended) = launch.try_start() else { panic!("it starts") };
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("nowhere.pem cannot be used for TLS"), "{}", ended.log);
}
