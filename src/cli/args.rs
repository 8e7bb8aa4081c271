//! The command line's words. Every option has an environment variable.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};

use super::Misuse;
use super::audit::AuditArgs;
use super::cluster::args::ClusterCommand;
use super::config_args::{ConfigArgs, lay, sources_of};
use super::entity::EntityCommand;
use super::server_args::{PasswordArgs, ServerArgs};
use super::store::StoreCommand;
use crate::actors::values::{Email, Invalid};
use crate::config::Sources;
use crate::node::Bootstrap;

/// An e-commerce backend of durable actors. Without a command: `souk serve --sample`.
#[derive(Debug, Parser)]
#[command(name = "souk", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API from a store.
    Serve(ServeArgs),
    /// Import catalogues into a running server; a second run changes nothing.
    Import(ImportArgs),
    /// Look into an actor: its state, its journal, its state at any version.
    Inspect(InspectArgs),
    /// Verify, passivate, quarantine or release an actor, or list those of a kind.
    Entity {
        #[command(subcommand)]
        command: EntityCommand,
    },
    /// See who did what as staff, when, from where, and what came of it.
    Audit(AuditArgs),
    /// See how a cluster of nodes stands, and drain, move or pin in it. Any of its nodes can be asked.
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Verify a store, move it into another engine, or its slots to another server.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Operate on a store that no server holds, or on a shared one.
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Play a real shop's history through the API of a running server, and verify what came of it.
    Replay {
        #[command(subcommand)]
        command: ReplayCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an administrator, with the password on standard input.
    CreateAdmin(CreateAdminArgs),
}

#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// The UCI Online Retail II file, as CSV or gzip of it.
    OnlineRetail(ReplayArgs),
}

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address to listen on; port 0 takes a free one [http.addr; default 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", env = "SOUK_HTTP")]
    pub http: Option<String>,
    /// Serve as one node of a cluster, and take the other nodes' connections here [cluster.listen; default none].
    #[arg(long, value_name = "ADDR", env = "SOUK_CLUSTER")]
    pub cluster: Option<String>,
    /// Where the other nodes reach that, if not there [cluster.advertise].
    #[arg(long, value_name = "HOST:PORT", env = "SOUK_ADVERTISE")]
    pub advertise: Option<String>,
    /// How this node is called [node.name; default the host's name].
    #[arg(long, value_name = "NAME", env = "SOUK_NODE_NAME")]
    pub node_name: Option<String>,
    /// Fill an empty store with a small sample catalogue.
    #[arg(long, env = "SOUK_SAMPLE", value_parser = FalseyValueParser::new())]
    pub sample: bool,
}

impl ServeArgs {
    pub fn sources(&self, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources<'_> {
        let mut sources = self.config.sources(environment);
        lay(&mut sources, "--http or SOUK_HTTP", "http.addr", self.http.as_ref());
        lay(&mut sources, "--cluster or SOUK_CLUSTER", "cluster.listen", self.cluster.as_ref());
        lay(&mut sources, "--advertise or SOUK_ADVERTISE", "cluster.advertise", self.advertise.as_ref());
        lay(&mut sources, "--node-name or SOUK_NODE_NAME", "node.name", self.node_name.as_ref());
        sources
    }

    /// The first administrator, where the environment names one. An empty variable is as good as none.
    pub fn bootstrap(&self) -> anyhow::Result<Option<Bootstrap>> {
        const EMAIL: &str = "SOUK_BOOTSTRAP_ADMIN_EMAIL";
        const PASSWORD: &str = "SOUK_BOOTSTRAP_ADMIN_PASSWORD";
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        match (variable(EMAIL), variable(PASSWORD)) {
            (Some(email), Some(password)) => {
                let email = email.parse().map_err(|why| Misuse(format!("{EMAIL}: {why}")))?;
                Ok(Some(Bootstrap { email, password }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(Misuse(format!("{EMAIL} is set, but {PASSWORD} is not")).into()),
            (None, Some(_)) => Err(Misuse(format!("{PASSWORD} is set, but {EMAIL} is not")).into()),
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct CreateAdminArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Email of the administrator.
    #[arg(value_name = "EMAIL", env = "SOUK_EMAIL")]
    pub email: Email,
    #[command(flatten)]
    pub password: PasswordArgs,
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Kind of the entity: user, cart, order, sku, product, ...
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Show all its records.
    #[arg(long, env = "SOUK_INSPECT_JOURNAL", conflicts_with = "at", value_parser = FalseyValueParser::new())]
    pub journal: bool,
    /// Show its state as it was at this version.
    #[arg(long, value_name = "VERSION", env = "SOUK_INSPECT_AT", value_parser = clap::value_parser!(u64).range(1..))]
    pub at: Option<u64>,
    /// Print JSON.
    #[arg(long, env = "SOUK_INSPECT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Read a store at rest instead of asking a server. (Not SOUK_DATA: that a server's directory is known
    /// does not mean that the server is down.)
    #[arg(long, value_name = "DIR", env = "SOUK_INSPECT_DATA")]
    pub data: Option<String>,
    /// Configuration file for a store at rest.
    #[arg(long, value_name = "FILE", env = "SOUK_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArgs,
}

impl InspectArgs {
    /// The configuration for a store at rest.
    pub fn sources(&self, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources<'_> {
        let mut sources = sources_of(self.config.as_deref(), environment);
        lay(&mut sources, "--data or SOUK_INSPECT_DATA", "data.dir", self.data.as_ref());
        sources
    }
}

/// How much stock a SKU gets, measured by what is sold of it in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockShare {
    percent: u64,
}

impl StockShare {
    pub const EXACT: StockShare = StockShare { percent: 100 };

    /// Pieces to set for a SKU of which `sold` are sold: rounded down.
    pub fn of(self, sold: u64) -> u64 {
        u64::try_from(u128::from(sold) * u128::from(self.percent) / 100).unwrap_or(u64::MAX)
    }

    /// Whether nothing can be refused for want of stock.
    pub fn is_enough(self) -> bool {
        self.percent >= 100
    }
}

impl std::str::FromStr for StockShare {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "exact" {
            return Ok(StockShare::EXACT);
        }
        let percent = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 10_000);
        percent.map(|percent| StockShare { percent }).ok_or(Invalid("expected exact, or a percentage such as 90"))
    }
}

impl std::fmt::Display for StockShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.percent == 100 { f.write_str("exact") } else { write!(f, "{}%", self.percent) }
    }
}

/// The stock of an imported online retail file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportStock {
    None,
    Share(StockShare),
}

impl std::str::FromStr for ImportStock {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "none" { Ok(ImportStock::None) } else { text.parse().map(ImportStock::Share) }
    }
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Catalogues: souk's CSV (sku,title,description,category,price,currency,on_hand,...) or JSON lines, or the
    /// UCI Online Retail II file; each plain or gzip.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// For an online retail file: set each SKU's stock to what was sold of it (exact), a percentage of
    /// that, or leave it (none).
    #[arg(long, value_name = "exact|PERCENT|none", env = "SOUK_IMPORT_STOCK", default_value = "none")]
    pub stock: ImportStock,
    /// Write all rows in error here, as CSV.
    #[arg(long, value_name = "FILE", env = "SOUK_IMPORT_ERRORS")]
    pub errors: Option<PathBuf>,
    /// What separates the cells of souk's CSV: a character, or tab.
    #[arg(long, value_name = "CHARACTER", env = "SOUK_IMPORT_DELIMITER", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
    /// Prices in souk's CSV are written with a comma: 6,50.
    #[arg(long, env = "SOUK_IMPORT_DECIMAL_COMMA", value_parser = FalseyValueParser::new())]
    pub decimal_comma: bool,
    /// Change nothing: say what would happen, as far as it can be told without doing it. What only the server
    /// judges (lengths of texts, say) is not judged.
    #[arg(long, env = "SOUK_IMPORT_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Requests at once.
    #[arg(long, value_name = "N", env = "SOUK_IMPORT_CLIENTS", default_value_t = 16, value_parser = clients())]
    pub clients: u16,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The file, as CSV or gzip of it.
    pub file: PathBuf,
    /// Customers at once. With 1 everything happens in file order, and the outcomes are held against an
    /// oracle.
    #[arg(long, value_name = "N", env = "SOUK_REPLAY_CLIENTS", default_value_t = 64, value_parser = clients())]
    pub clients: u16,
    /// Play only the first N invoices.
    #[arg(long, value_name = "N", env = "SOUK_REPLAY_INVOICES")]
    pub invoices: Option<usize>,
    /// Stock of each SKU before the replay: what the played invoices buy of it (exact), or a percentage of
    /// that.
    #[arg(long, value_name = "exact|PERCENT", env = "SOUK_REPLAY_STOCK", default_value = "exact")]
    pub stock: StockShare,
    /// Put up to 500 lines into a cart with each request, and ask for short answers; otherwise line by line.
    #[arg(long, env = "SOUK_REPLAY_BULK", value_parser = FalseyValueParser::new())]
    pub bulk: bool,
    /// Note here what is done; a replay that was interrupted goes on from there.
    #[arg(long, value_name = "FILE", env = "SOUK_REPLAY_STATE")]
    pub state: Option<PathBuf>,
    /// Write the report here, as JSON.
    #[arg(long, value_name = "FILE", env = "SOUK_REPLAY_REPORT")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArgs,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" | b"\t" => Ok(b'\t'),
        [byte] if byte.is_ascii_punctuation() && !matches!(byte, b'"' | b'.' | b'-' | b'_') => Ok(*byte),
        _ => Err("expected one of the characters that separate (such as ; or |), or tab".to_owned()),
    }
}

fn clients() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_option_has_a_variable() {
        Args::command().debug_assert();
        fn check(command: &clap::Command) {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let is_clap_s_own = arg.get_id() == "help" || arg.get_id() == "version";
                assert!(is_clap_s_own || arg.get_env().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    #[test]
    fn a_node_of_a_cluster_listens_at_one_address_and_may_tell_another() {
        use clap::Parser;
        let line =
            "souk serve --store postgres --store-url postgres://a --cluster 0.0.0.0:7400 --advertise one.shop:7401";
        let Some(Command::Serve(args)) = Args::parse_from(line.split(' ')).command else { panic!("it serves") };
        let secret = ("SOUK_CLUSTER__SECRET".into(), "a secret of sixteen and more characters".into());
        let config = crate::config::Config::load(&args.sources([secret].into_iter())).expect("a whole configuration");
        assert_eq!(
            (config.cluster.advertise.as_str(), config.cluster.listen.map(|at| at.port())),
            ("one.shop:7401", Some(7400))
        );
    }

    #[test]
    fn stock_is_exact_or_a_percentage_rounded_down() {
        let share = |text: &str| text.parse::<StockShare>();
        assert_eq!(share("exact").map(|share| share.of(7)), Ok(7));
        assert_eq!(share("90").map(|share| share.of(19)), Ok(17));
        assert_eq!(share("90%").map(|share| (share.of(1), share.is_enough())), Ok((0, false)));
        assert_eq!(share("100"), Ok(StockShare::EXACT));
        assert_eq!("none".parse(), Ok(ImportStock::None));
        for wrong in ["", "most", "-1", "9.5", "10001"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
