//! What was typed. These types know the command line's grammar and nothing else; what the words mean is for the
//! commands to find out.

mod container;
mod flags;
mod image;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use container::{
    Attachment, ContainerCommand, Create, Exec, Inspect, InspectKind, Kill, Logs, Ps, Remove, Run, Start, Stop, Wait,
    When,
};
pub(crate) use flags::parse;
pub(crate) use image::{
    Bootstrap, Df, History, ImageCommand, Images, Import, Load, Prune, Pull, Push, RemoveImage, Save, SystemCommand,
    Tag,
};

/// Build, store, move and run Linux containers.
#[derive(Debug, Parser)]
#[command(name = "onggi", version, max_term_width = 120, disable_help_subcommand = true)]
#[command(after_help = "Data lives in /var/lib/onggi, or in ~/.local/share/onggi for an ordinary user.\n\
    `onggi runtime --help` is the OCI runtime, command-compatible with runc.")]
pub(crate) struct Onggi {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Directory of images, layers and containers
    #[arg(long, global = true, value_name = "DIR", env = "ONGGI_ROOT", help_heading = "Global options")]
    pub(crate) root: Option<PathBuf>,
    /// Directory of sockets and locks, which no boot outlives
    #[arg(long, global = true, value_name = "DIR", env = "ONGGI_RUN", help_heading = "Global options")]
    pub(crate) run: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a container from an image and run a command in it
    Run(Box<Run>),
    /// Make a container without starting it
    Create(Box<Create>),
    /// Start containers that were made or have ended
    Start(Start),
    /// Stop containers: a signal, and after a while SIGKILL
    Stop(Stop),
    /// Send a signal to containers
    Kill(Kill),
    /// Remove containers
    Rm(Remove),
    /// List containers
    #[command(visible_alias = "ls")]
    Ps(Ps),
    /// Show what a container has written
    Logs(Logs),
    /// Run a command in a running container
    Exec(Exec),
    /// Wait until containers end, and print their exit codes
    Wait(Wait),
    /// Show everything known of containers or images, as JSON
    Inspect(Inspect),
    /// Fetch an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Give an image another name
    Tag(Tag),
    /// List images
    Images(Images),
    /// Remove images
    Rmi(RemoveImage),
    /// Show how an image was made
    History(History),
    /// Write images to a tar archive
    Save(Save),
    /// Read images from a tar archive
    Load(Load),
    /// Make an image from a tar archive of a root file system
    Import(Import),
    /// Images: the same and more, `onggi image --help`
    #[command(subcommand)]
    Image(ImageCommand),
    /// Containers: the same, `onggi container --help`
    #[command(subcommand)]
    Container(ContainerCommand),
    /// The whole store: disk use, prune
    #[command(subcommand)]
    System(SystemCommand),
    /// Show what this machine offers to containers
    Info(Info),
    /// Show the version
    Version,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// Show the control groups in force and what may be limited
    #[arg(long)]
    pub(crate) cgroup: bool,
    /// Print as `json` or by a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}
