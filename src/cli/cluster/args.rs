//! The words of `souk cluster`.

use clap::Subcommand;
use clap::builder::FalseyValueParser;

use crate::cli::server_args::ServerArgs;

/// A node is named by its id, or by its name where one live node has it.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// The nodes, the store, and whether every slot is where it should be.
    Status(SeeArgs),
    /// The nodes alone.
    Nodes(SeeArgs),
    /// Every slot: who owns it, and how it stands.
    Slots(SlotsArgs),
    /// One slot, with what the asked node has seen of its owners.
    Slot(SlotArgs),
    /// What is to be done now, what is not, and why.
    Plan(SeeArgs),
    /// What has happened, as the asked node has seen it.
    Events(EventsArgs),
    /// The status again and again, with the moves that are under way, until it is interrupted.
    Watch(SeeArgs),
    /// Give a node no slots any more. What it has stays.
    Cordon(NodeArgs),
    /// Give a node no slots any more, and have it hand over what it has.
    Drain(DrainArgs),
    /// Let a node have slots again: the end of a cordon, and of a drain.
    Uncordon(NodeArgs),
    /// Move a slot to a node, for as long as that node lives.
    Move(MoveArgs),
    /// Keep a slot on the node of this name, or where it is, until it is unpinned.
    Pin(PinArgs),
    /// Let the plan decide where a slot is: the end of a pin, and of a move.
    Unpin(UnpinArgs),
}

#[derive(Debug, clap::Args)]
pub struct SeeArgs {
    /// Print JSON, as the server has it.
    #[arg(long, env = "SOUK_CLUSTER_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub struct SlotsArgs {
    /// Only those of this node.
    #[arg(long, value_name = "NODE", env = "SOUK_CLUSTER_OWNER")]
    pub owner: Option<String>,
    /// Only those that stand so, such as parked or unowned.
    #[arg(long, value_name = "STATE", env = "SOUK_CLUSTER_STATE")]
    pub state: Option<String>,
    #[command(flatten)]
    pub see: SeeArgs,
}

#[derive(Debug, clap::Args)]
pub struct SlotArgs {
    /// Its number.
    pub slot: u16,
    #[command(flatten)]
    pub see: SeeArgs,
}

#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until it is interrupted.
    #[arg(long, env = "SOUK_CLUSTER_FOLLOW", value_parser = FalseyValueParser::new())]
    pub follow: bool,
    /// Only these types, with commas between them, such as node_lost,slot_moved.
    #[arg(long, value_name = "TYPES", env = "SOUK_CLUSTER_TYPES")]
    pub types: Option<String>,
    #[command(flatten)]
    pub see: SeeArgs,
}

#[derive(Debug, clap::Args)]
pub struct ActArgs {
    /// Only say what would follow.
    #[arg(long, env = "SOUK_CLUSTER_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Do it without asking at a terminal.
    #[arg(long, env = "SOUK_CLUSTER_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
    /// Why, for other operators.
    #[arg(long, value_name = "TEXT", env = "SOUK_CLUSTER_REASON", default_value = "")]
    pub reason: String,
    /// Print JSON, as the server has it.
    #[arg(long, env = "SOUK_CLUSTER_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    pub node: String,
    #[command(flatten)]
    pub act: ActArgs,
}

#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    pub node: String,
    /// Return when the node owns nothing any more.
    #[arg(long, env = "SOUK_CLUSTER_WAIT", value_parser = FalseyValueParser::new())]
    pub wait: bool,
    #[command(flatten)]
    pub act: ActArgs,
}

#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    pub slot: u16,
    /// Where it is to go.
    pub node: String,
    #[command(flatten)]
    pub act: ActArgs,
}

#[derive(Debug, clap::Args)]
pub struct PinArgs {
    pub slot: u16,
    /// Where it is to stay; where it is, when it is not given.
    pub node: Option<String>,
    #[command(flatten)]
    pub act: ActArgs,
}

#[derive(Debug, clap::Args)]
pub struct UnpinArgs {
    pub slot: u16,
    #[command(flatten)]
    pub act: ActArgs,
}
