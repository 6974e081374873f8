//! A real Kubernetes on this machine, for tests: built from its Go modules and Debian packages, run in
//! namespaces of its own, so that its end leaves nothing behind. The product never needs any of it.

mod build;
mod cell;
mod certificates;
mod containerd;
mod control_plane;
mod etcd;
mod hold;
mod images;
mod kubelet;
mod network;
mod parts;
mod place;
mod registries;
mod traces;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::setup;
pub use build::{pause, stamp};
pub use images::PAUSE;
pub use parts::{Optional, Part};
pub use place::Place;
pub use traces::Traces;

/// Options of `cargo xtask cluster`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Build what is missing, start it all and print the kubeconfig's path.
    Up(Up),
    /// End the cluster and everything that it made on this machine.
    Down(Where),
    /// Say what runs, with its memory.
    Status(Where),
    /// Give the cluster's node an image made from a plain folder.
    Image(Image),
    /// Give the cluster's node the images of an OCI or Docker archive.
    Load(Load),
    /// The first process of a cluster, inside its namespaces.
    #[command(hide = true)]
    Hold(Where),
}

/// Which cluster is meant.
#[derive(clap::Args, Clone, Debug)]
pub struct Where {
    /// The cluster's folder; one cluster per folder.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Where {
    /// The folder's place, which need not exist.
    pub fn place(&self) -> Result<Place> {
        Place::at(self.dir.clone())
    }
}

/// Options of `cargo xtask cluster up`.
#[derive(clap::Args, Clone, Debug)]
pub struct Up {
    #[command(flatten)]
    place: Where,
    /// Which Kubernetes: a version that tests/cluster has a Go module for.
    #[arg(long, default_value = build::VERSIONS[0].number, value_parser = build::known_version)]
    kubernetes: String,
    /// Only etcd and the API server.
    #[arg(long)]
    control_plane_only: bool,
    /// Parts to leave out.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Optional>,
}

impl Up {
    /// The same with this version of Kubernetes, if one is given.
    pub fn version(mut self, number: Option<&str>) -> Result<Self> {
        if let Some(number) = number {
            self.kubernetes = build::known_version(number).map_err(anyhow::Error::msg)?;
        }
        Ok(self)
    }

    /// Where it will be.
    pub fn place(&self) -> Result<Place> {
        self.place.place()
    }

    /// The default cluster of `dir`, without `without`.
    pub fn new(dir: Option<PathBuf>, without: Vec<Optional>) -> Self {
        Self {
            place: Where { dir },
            kubernetes: build::VERSIONS[0].number.to_owned(),
            control_plane_only: false,
            without,
        }
    }

    /// The default version's API server and its store alone, in `dir`.
    pub fn control_plane(dir: PathBuf) -> Self {
        Self {
            control_plane_only: true,
            ..Self::new(Some(dir), Vec::new())
        }
    }
}

#[derive(clap::Args)]
struct Image {
    #[command(flatten)]
    place: Where,
    /// The image's name, as pods will say it.
    name: String,
    /// The folder that becomes its root.
    folder: PathBuf,
}

#[derive(clap::Args)]
struct Load {
    #[command(flatten)]
    place: Where,
    /// The archive, which names its images.
    archive: PathBuf,
}

/// Runs one subcommand.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Up(options) => {
            let place = up(options)?;
            println!("{}", place.kubeconfig().display());
            Ok(())
        }
        Command::Down(at) => cell::end(&at.place()?),
        Command::Status(at) => parts::status(&at.place()?),
        Command::Image(image) => {
            only_root()?;
            images::add(&image.place.place()?, &image.name, &image.folder)
        }
        Command::Load(load) => {
            only_root()?;
            images::load(&load.place.place()?, &load.archive)
        }
        Command::Hold(at) => hold::run(&at.place()?),
    }
}

/// Starts the cluster that `options` ask for, unless it runs already.
pub fn up(options: &Up) -> Result<Place> {
    only_root()?;
    let place = options.place.place()?;
    let parts = Part::chosen(options.control_plane_only, &options.without);
    if let Some(record) = place.running()? {
        if record.kubernetes != options.kubernetes || record.parts != parts {
            bail!(
                "another cluster (Kubernetes {}) runs in {}; end it with cargo xtask cluster down, or name another --dir",
                record.kubernetes,
                place.root().display()
            );
        }
        return Ok(place);
    }
    cell::end(&place)?;
    setup::cluster_packages(parts.contains(&Part::Kubelet))?;
    let built = build::everything(&options.kubernetes, &parts)?;
    place.prepare(&built)?;
    let record = place::Record::new(&place, &options.kubernetes, parts);
    certificates::make(&place, &record)?;
    cell::begin(&place, record)?;
    Ok(place)
}

/// Ends the cluster of `place`.
pub fn down(place: &Place) -> Result<()> {
    cell::end(place)
}

/// Gives the cluster of `place` an image made from `folder`.
pub fn add_image(place: &Place, name: &str, folder: &std::path::Path) -> Result<()> {
    images::add(place, name, folder)
}

/// Gives the cluster of `place` the images of `archive`.
pub fn load(place: &Place, archive: &std::path::Path) -> Result<()> {
    images::load(place, archive)
}

fn only_root() -> Result<()> {
    if setup::is_root() {
        return Ok(());
    }
    bail!(
        "a real Kubernetes makes namespaces, mounts and cgroups and so needs root: run this with sudo"
    )
}
