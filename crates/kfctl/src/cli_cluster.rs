//! The part of the command line that is about clusters: building, applying, deleting, checking and exporting what is
//! installed there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use crate::cli::Output;
use crate::cluster::Target;

/// `kfctl build`.
#[derive(Clone, Debug, Args)]
pub struct Build {
    /// The KfDef.
    #[command(flatten)]
    pub file: File,
    /// More than the KfDef.
    #[command(flatten)]
    pub extra: Extra,
    /// Also print every object.
    #[arg(long, short)]
    pub dump: bool,
}

/// Which KfDef.
#[derive(Clone, Debug, Args)]
pub struct File {
    /// A KfDef: a file, or an address of one. The names of the guide are known without a network.
    #[arg(long = "file", short = 'f', value_name = "FILE|URL", value_hint = ValueHint::AnyPath)]
    pub file: String,
    /// Say more.
    #[arg(long, short = 'V')]
    pub verbose: bool,
}

/// What is installed besides what the KfDef names.
#[derive(Clone, Copy, Debug, Args)]
pub struct Extra {
    /// Also install storage for a cluster that has none: claims become folders on its nodes.
    #[arg(long)]
    pub local_storage: bool,
}

/// `kfctl apply`.
#[derive(Clone, Debug, Args)]
pub struct Apply {
    /// The KfDef.
    #[command(flatten)]
    pub file: File,
    /// More than the KfDef.
    #[command(flatten)]
    pub extra: Extra,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// The version to bring the cluster to, which must be that of this kfctl. Needed to go back to it from a newer one.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Take fields that somebody else owns.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Go on although a check failed.
    #[arg(long)]
    pub ignore_checks: bool,
    /// How long components may take to become ready, such as `10m` or `90s`.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}

/// `kfctl delete`.
#[derive(Clone, Debug, Args)]
pub struct Delete {
    /// The KfDef.
    #[command(flatten)]
    pub file: File,
    /// Where from.
    #[command(flatten)]
    pub target: Target,
    /// Do not ask. Scripts need it.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Delete although the KfDef was applied to another cluster.
    #[arg(long)]
    pub force_deletion: bool,
    /// Also delete claims and namespaces, and so runs, artifacts and everything else there.
    #[arg(long)]
    pub delete_storage: bool,
    /// How long objects may take to go.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// `kfctl check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// `kfctl export`.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// The kustomize tree, with its folder `example`.
    Kustomize(Folder),
    /// The Helm chart, as a folder `kubeflow`.
    Chart(Folder),
    /// A chart repository: the chart's archive and index.yaml, to be served by any web server.
    ChartRepository(Folder),
}

/// Where to.
#[derive(Clone, Debug, Args)]
pub struct Folder {
    /// The folder; it is made.
    #[arg(long = "to", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
}

/// `kfctl answers`.
#[derive(Clone, Debug, Args)]
pub struct Answers {
    /// Addresses that must answer with success.
    #[arg(required = true)]
    pub addresses: Vec<String>,
    /// How long they may take.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.chars().last() {
        Some('s') => (&text[..text.len() - 1], 1),
        Some('m') => (&text[..text.len() - 1], 60),
        Some('h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .map(|number| Duration::from_secs(number * factor))
        .map_err(|_| format!("{text:?} is no duration; write 90s, 10m or 1h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3600), ("7", 7)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "m", "1d", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
