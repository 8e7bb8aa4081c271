//! Which server a command asks, and in whose name.

use std::io::BufRead;
use std::time::Duration;

use anyhow::Context;
use clap::builder::FalseyValueParser;

use super::Misuse;
use super::client::Api;
use super::session::Session;
use crate::actors::values::LoginName;

/// A password, never on the command line: everybody on the machine can read that.
#[derive(Debug, clap::Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of standard input (or set SOUK_PASSWORD).
    #[arg(long, env = "SOUK_PASSWORD_STDIN", value_parser = FalseyValueParser::new())]
    password_stdin: bool,
}

impl PasswordArgs {
    pub fn read(&self) -> anyhow::Result<String> {
        if !self.password_stdin {
            let password = std::env::var("SOUK_PASSWORD").ok().filter(|text| !text.is_empty());
            let why =
                || Misuse("a password is needed: --password-stdin, or SOUK_PASSWORD in the environment".to_owned());
            return Ok(password.ok_or_else(why)?);
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
        let password = line.trim_end_matches(['\r', '\n']);
        anyhow::ensure!(!password.is_empty(), Misuse("there is no password on standard input".to_owned()));
        Ok(password.to_owned())
    }
}

/// The server to talk to, and in whose name.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Address of the server.
    #[arg(long, value_name = "URL", env = "SOUK_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Email of an administrator.
    #[arg(long, value_name = "EMAIL", env = "SOUK_EMAIL")]
    pub email: Option<LoginName>,
    #[command(flatten)]
    pub password: PasswordArgs,
    /// How long to go on trying when the server does not answer, in seconds.
    #[arg(long, value_name = "SECONDS", env = "SOUK_PATIENCE", default_value_t = 60)]
    pub patience: u64,
}

impl ServerArgs {
    pub fn api(&self, connections: usize) -> anyhow::Result<Api> {
        Api::new(&self.url, connections, Duration::from_secs(self.patience))
            .map_err(|why| Misuse(format!("{why:#}")).into())
    }

    /// The administrator's session. Reads the password: call it once.
    pub fn session(&self) -> anyhow::Result<Session> {
        let why = || Misuse("an administrator is needed: --email, and --password-stdin or SOUK_PASSWORD".to_owned());
        let email = self.email.as_ref().ok_or_else(why)?;
        Ok(Session::new(email.as_str(), self.password.read()?))
    }
}
