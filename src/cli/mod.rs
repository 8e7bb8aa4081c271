//! The command line: its commands, and the exit codes that scripts rely on.
//!
//! Exit codes: 0 well, 1 failed (what failed is on standard error), 2 misused (options, configuration).
//! `serve`, `admin` and `inspect --data` work on a store through [`crate::node`], `store` through [`crate::upkeep`]; `import`, `inspect`, `cluster`,
//! `audit`, `entity` and `replay` are clients of a server's public API and know nothing else of it.

mod args;
mod audit;
mod client;
mod cluster;
mod config_args;
mod entity;
mod import;
mod inspect;
mod meter;
mod output;
mod replay;
mod retail;
mod server_args;
mod session;
mod source;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::config::{Config, ConfigErrors};
use crate::node::{self, ServeOptions};
use crate::persistence::tls::choose_provider;
use args::{AdminCommand, Args, Command, ReplayCommand, ServeArgs};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// A mistake of the caller: the command line or the configuration must change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// The program.
pub fn main() -> ExitCode {
    choose_provider();
    let command = Args::parse().command.unwrap_or_else(default_command);
    let runtime = match tokio::runtime::Builder::new_multi_thread().max_blocking_threads(32).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("souk: cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("souk: {error:#}");
            let misused = error.is::<Misuse>() || error.is::<ConfigErrors>();
            ExitCode::from(if misused { MISUSED } else { FAILED })
        }
    }
}

/// `souk` alone: `souk serve --sample`, with the same environment variables.
fn default_command() -> Command {
    Args::parse_from(["souk", "serve", "--sample"]).command.expect("the command is among the arguments")
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Entity { command } => entity::run(command).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Cluster { command } => cluster::run(command).await,
        Command::Admin { command: AdminCommand::CreateAdmin(args) } => {
            let password = args.password.read()?;
            let created =
                node::create_admin(Config::load(&args.config.sources(std::env::vars_os()))?, &args.email, password)
                    .await?;
            output::print(&format!("{created}\n"))
        }
        Command::Store { command } => store::run(command).await,
        Command::Replay { command: ReplayCommand::OnlineRetail(args) } => replay::run(args).await,
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.sources(std::env::vars_os()))?;
    let options = ServeOptions { sample: args.sample, bootstrap: args.bootstrap()? };
    node::run(config, options).await
}
