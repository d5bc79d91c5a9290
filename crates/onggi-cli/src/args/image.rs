//! The grammar of the commands about images and the store.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Inspect;

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make a base image from this machine's own programs
    Bootstrap(Bootstrap),
    /// Fetch an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Give an image another name
    Tag(Tag),
    /// List images
    #[command(visible_alias = "list")]
    Ls(Images),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RemoveImage),
    /// Show everything known of images, as JSON
    Inspect(Inspect),
    /// Show how an image was made
    History(History),
    /// Write images to a tar archive
    Save(Save),
    /// Read images from a tar archive
    Load(Load),
    /// Make an image from a tar archive of a root file system
    Import(Import),
    /// Remove images without a name, or with --all those that no container uses
    Prune(Prune),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes the disk
    Df(Df),
    /// Remove ended containers, unnamed images and whatever nothing owns
    Prune(Prune),
}

#[derive(Debug, Args)]
pub(crate) struct Df {
    /// Print as `json` or by a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source"))]
#[command(after_help = "Examples:\n  \
    onggi image bootstrap base                 a static busybox where there is one, else sh and coreutils\n  \
    onggi image bootstrap tools bash ls grep   these programs and exactly the libraries that they load\n  \
    onggi image bootstrap debian --rootfs DIR  a whole tree, such as debootstrap makes")]
pub(crate) struct Bootstrap {
    /// Take this directory as the whole root file system
    #[arg(long, value_name = "DIR", group = "source", conflicts_with = "programs")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Take this tar archive (plain, gzip or zstd) as the whole root file system
    #[arg(long, value_name = "FILE", group = "source", conflicts_with = "programs")]
    pub(crate) tar: Option<PathBuf>,
    /// Print only the image's ID
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Name of the image
    pub(crate) name: String,
    /// Programs, by path or by name on the path
    #[arg(value_name = "PROGRAM")]
    pub(crate) programs: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Platform, such as linux/arm64/v8
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Print only the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Print only the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Image, by name or ID
    pub(crate) source: String,
    /// Its new name
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Show images without a name too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Show only what fits: dangling, reference, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Print as `table`, `json` or by a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Only this repository, or this repository and tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveImage {
    /// Remove the image even if it has several names or a stopped container uses it
    #[arg(short, long)]
    pub(crate) force: bool,
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Only IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print as `table`, `json` or by a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    pub(crate) image: String,
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Read from a file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Apply a Dockerfile instruction to the image's configuration (CMD, ENV, USER, ...)
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Message for the image's history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Platform to write into the image
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Archive, or - for standard input
    pub(crate) source: PathBuf,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Remove every image that no container uses, not only those without a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}
