//! The command line as the user sees it. Each command's work is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::cluster::Target;
use crate::config::{Durability, GpuFallback, MemoryFallback};

/// A whole Kubeflow in one binary: pipelines on your own machine, or on any Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kfctl", version = crate::version::LONG, max_term_width = 100)]
#[command(
    after_help = "Begin with:\n  kfctl up --detach                  start the platform\n  kfctl run pipeline.py --follow     run a pipeline and watch it\n  kfctl down                         stop\n\nNot in this version: Katib, KServe, training jobs, notebooks, recurring runs, the Pipelines v1 API."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder of the platform's state [default: ~/.local/share/ferroflow].
    #[arg(long, global = true, env = "FERROFLOW_DATA_DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// Configuration file [default: ~/.config/ferroflow/config.yaml].
    #[arg(long, global = true, env = "FERROFLOW_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// What `kfctl` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform on this machine.
    #[command(
        after_help = "Examples:\n  kfctl up                                   here, with a live list; Ctrl-C stops it\n  kfctl up --detach --export-kubeconfig      in the background, with a context for kubectl\n  kfctl up --detach --gpu-fallback=cpu --memory-fallback=clamp\n                                             on a laptop: what asks for a GPU or too much memory runs all the same"
    )]
    Up(Up),
    /// Stop the platform; interrupted steps resume at the next `up`.
    #[command(
        after_help = "Examples:\n  kfctl down\n  kfctl down --delete-data      also deletes runs, artifacts, images and keys; asks first"
    )]
    Down(Down),
    /// Show components, pods, memory and data size.
    #[command(
        after_help = "Examples:\n  kfctl status\n  kfctl status -o json\n  kfctl status --context my-cluster\n\nThe exit code is 0 while the platform runs and every component is ready."
    )]
    Status(Status),
    /// Compile and run a pipeline, and follow it.
    #[command(
        after_help = "Examples:\n  kfctl run pipeline.py --follow\n  kfctl run pipeline.py --param epochs=3 --param 'sizes=[1, 2]' --mount ~/texts:/data/raw\n  kfctl run compiled.yaml --name nightly\n  kfctl run pipeline.py --follow --context my-cluster --image-map train:latest=registry.example.com/train:1\n\nThe exit code of --follow is 0 for a run that succeeded. Ctrl-C leaves the run going."
    )]
    Run(Run),
    /// List pipeline runs; show, follow or end one.
    #[command(
        after_help = "Examples:\n  kfctl runs                      the newest runs\n  kfctl runs -o wide\n  kfctl runs last                 the steps of one run\n  kfctl runs last --follow\n  kfctl runs last --terminate"
    )]
    Runs(Runs),
    /// Show the log of a run's steps.
    #[command(
        after_help = "Examples:\n  kfctl logs last                 every step of the newest run, in order\n  kfctl logs last train -f        one step, as its lines come"
    )]
    Logs(Logs),
    /// Manage images: from plain folders, archives and registries, and to them.
    #[command(
        after_help = "Examples:\n  kfctl image add train:latest ./train --requirements ./train/requirements.txt\n  kfctl image push train:latest registry.example.com/team/ --context my-cluster     and what to type next\n  kfctl image list --context my-cluster                                             what its nodes have"
    )]
    Image(Images),
    /// Print a one-time address that signs a browser in.
    #[command(after_help = "Examples:\n  kfctl login\n  xdg-open \"$(kfctl login --quiet)\"")]
    Login(Login),
    /// On a cluster: write what would be installed, to be looked at.
    #[command(
        after_help = "Examples:\n  kfctl build -V -f kfdef_k8s_istio.v1.7.0.yaml\n  kfctl build -d -f kfdef_k8s_istio.v1.7.0.yaml     every object, to be read"
    )]
    Build(crate::cli_cluster::Build),
    /// On a cluster: install, upgrade or mend.
    #[command(
        after_help = "Examples:\n  kfctl apply -V -f kfdef_k8s_istio.v1.7.0.yaml\n  kfctl apply -f kfdef_k8s_istio.v1.7.0.yaml --context my-cluster --yes"
    )]
    Apply(crate::cli_cluster::Apply),
    /// On a cluster: take away what was installed.
    #[command(
        after_help = "Examples:\n  kfctl delete -f kfdef_k8s_istio.v1.7.0.yaml                      keeps runs and artifacts\n  kfctl delete -f kfdef_k8s_istio.v1.7.0.yaml --delete-storage     takes everything"
    )]
    Delete(crate::cli_cluster::Delete),
    /// On a cluster: say whether it can take the platform.
    #[command(
        after_help = "Examples:\n  kfctl check\n  kfctl check --context my-cluster -o json\n\nThe exit code is 0 unless something would fail; a warning is no failure."
    )]
    Check(crate::cli_cluster::Check),
    /// Write the Helm chart or the kustomize tree of this version.
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  kfctl export kustomize --to manifests\n  kfctl export chart --to .\n  kfctl export chart-repository --to public"
    )]
    Export(crate::cli_cluster::Export),
    /// Once, with sudo: allow what this machine refuses to ordinary users.
    #[command(
        after_help = "Examples:\n  kfctl setup --dry-run         what this machine needs, if anything\n  sudo kfctl setup\n  sudo kfctl setup --undo       take it back"
    )]
    Setup(Setup),
    /// Show the configuration in force.
    #[command(subcommand)]
    #[command(after_help = "Example:\n  kfctl config show > ~/.config/ferroflow/config.yaml")]
    Config(ConfigCommand),
    /// Print shell completion.
    #[command(
        after_help = "Examples:\n  source <(kfctl completion bash)\n  kfctl completion zsh > \"${fpath[1]}/_kfctl\"\n  kfctl completion fish > ~/.config/fish/completions/kfctl.fish"
    )]
    Completion(Completion),
    /// Print the version.
    #[command(after_help = "Examples:\n  kfctl version\n  kfctl version -o json")]
    Version(Version),
    /// Run one component (what the installed Deployments call).
    #[command(hide = true)]
    Controller(crate::components::standalone::Controller),
    /// Ask addresses until they answer (what the chart's test calls).
    #[command(hide = true)]
    Answers(crate::cli_cluster::Answers),
    /// Put the step launcher into a pod (what pipeline pods call).
    #[command(subcommand, hide = true)]
    Launcher(Launcher),
}

/// Output form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Output form of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RowsOutput {
    /// For people.
    #[default]
    Table,
    /// For people with a wide screen.
    Wide,
    /// For programs.
    Json,
}

/// `kfctl up`.
#[derive(Clone, Debug, Args)]
pub struct Up {
    /// Return as soon as everything is ready; the platform goes on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Install nothing: only the small Kubernetes.
    #[arg(long)]
    pub bare: bool,
    /// Port of the console [default: 7878].
    #[arg(long)]
    pub port: Option<u16>,
    /// Port of the Kubernetes API [default: 7443].
    #[arg(long)]
    pub api_port: Option<u16>,
    /// Where there is no GPU: leave pods that ask for one Pending, or run them on the CPU.
    #[arg(long, value_enum)]
    pub gpu_fallback: Option<GpuFallback>,
    /// Where memory is short: leave pods that ask for more Pending, or cut their request.
    #[arg(long, value_enum)]
    pub memory_fallback: Option<MemoryFallback>,
    /// When a write counts as done.
    #[arg(long, value_enum)]
    pub durability: Option<Durability>,
    /// Run pods as plain processes where namespaces are refused. They see the whole machine.
    #[arg(long)]
    pub allow_host_processes: bool,
    /// A host folder that pods may mount by `hostPath`. Repeatable.
    #[arg(long = "allow-host-path", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub allow_host_paths: Vec<PathBuf>,
    /// Add the context `ferroflow` to your kubeconfig: nothing of yours there is overwritten.
    #[arg(long)]
    pub export_kubeconfig: bool,
    /// Keep the platform running across reboots, as a systemd user unit.
    #[arg(long)]
    pub install_service: bool,
}

/// `kfctl down`.
#[derive(Clone, Debug, Args)]
pub struct Down {
    /// Also delete the data folder: runs, artifacts, images, keys.
    #[arg(long)]
    pub delete_data: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `kfctl status`.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// The platform of a cluster, instead of the one on this machine.
    #[command(flatten)]
    pub target: Target,
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// `kfctl run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The platform of a cluster, instead of the one on this machine.
    #[command(flatten)]
    pub target: Target,
    /// A pipeline: Python source, or compiled YAML or JSON.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Which pipeline, where the file defines several.
    #[arg(long)]
    pub function: Option<String>,
    /// Name of the run [default: the pipeline's name and the time].
    #[arg(long)]
    pub name: Option<String>,
    /// Experiment to group the run under.
    #[arg(long)]
    pub experiment: Option<String>,
    /// A parameter, as NAME=VALUE; JSON where the parameter is not text. Repeatable.
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// A host folder to show to the steps, as HOST:POD. Repeatable.
    #[arg(long = "mount", value_name = "HOST:POD")]
    pub mounts: Vec<String>,
    /// Another image for one that the pipeline names, as NAME=REFERENCE, such as where `kfctl image push` put it. Repeatable.
    #[arg(long = "image-map", value_name = "NAME=REFERENCE")]
    pub images: Vec<String>,
    /// Do not reuse results of earlier runs.
    #[arg(long)]
    pub no_cache: bool,
    /// Show the steps live until the run ends; the exit code tells how it ended.
    #[arg(long, short)]
    pub follow: bool,
    /// Output form of the submitted run.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// `kfctl runs`.
#[derive(Clone, Debug, Args)]
pub struct Runs {
    /// The platform of a cluster, instead of the one on this machine.
    #[command(flatten)]
    pub target: Target,
    /// One run: its id, its name, or `last`.
    pub run: Option<String>,
    /// Show the steps live until the run ends; the exit code tells how it ended.
    #[arg(long, short, conflicts_with = "terminate")]
    pub follow: bool,
    /// End the run.
    #[arg(long)]
    pub terminate: bool,
    /// How many.
    #[arg(long, default_value_t = 20)]
    pub limit: u16,
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: RowsOutput,
}

/// `kfctl logs`.
#[derive(Clone, Debug, Args)]
pub struct Logs {
    /// The platform of a cluster, instead of the one on this machine.
    #[command(flatten)]
    pub target: Target,
    /// Id of the run, its name, or `last`.
    pub run: String,
    /// One step; all of them in order where none is named.
    pub step: Option<String>,
    /// Go on as lines come.
    #[arg(long, short)]
    pub follow: bool,
}

/// `kfctl image`.
#[derive(Debug, Args)]
pub struct Images {
    /// The cluster that the images are for.
    #[command(flatten)]
    pub target: Target,
    /// What is done.
    #[command(subcommand)]
    pub command: Image,
}

/// What `kfctl image` does.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an image from a plain folder: no Dockerfile, no registry.
    Add(ImageAdd),
    /// List images.
    #[command(alias = "ls")]
    List {
        /// Output form.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Remove an image.
    #[command(alias = "remove")]
    Rm {
        /// Name of the image.
        name: String,
    },
    /// Show all that is known of an image.
    Inspect {
        /// Name of the image.
        name: String,
    },
    /// Pull an image from its registry.
    Pull(ImagePull),
    /// Load an image from an OCI or Docker archive, or an OCI layout folder.
    Load {
        /// The archive.
        #[arg(value_hint = ValueHint::AnyPath)]
        file: PathBuf,
        /// Name that pods will use [default: the one in the archive].
        #[arg(long)]
        name: Option<String>,
    },
    /// Make an OCI image of an image of this machine and push it to a registry.
    Push(ImagePush),
    /// Make an OCI image of an image of this machine and write it to a file.
    Export(ImageExport),
}

/// `kfctl image pull`.
#[derive(Clone, Debug, Args)]
pub struct ImagePull {
    /// The image, such as `quay.io/team/train:1` or `python:3.12`.
    pub name: String,
    /// How to sign in.
    #[command(flatten)]
    pub access: RegistryAccess,
}

/// `kfctl image push`.
#[derive(Clone, Debug, Args)]
pub struct ImagePush {
    /// Name of the image here, such as `train:latest`.
    pub name: String,
    /// Name it gets, with its registry: `registry.example.org/team/train:1`. One that ends with `/` gets the image's own
    /// name added.
    pub target: String,
    /// How to sign in.
    #[command(flatten)]
    pub access: RegistryAccess,
}

/// `kfctl image export`.
#[derive(Clone, Debug, Args)]
pub struct ImageExport {
    /// Name of the image here.
    pub name: String,
    /// The archive to write; `ctr images import`, `podman load`, `docker load` and `kfctl image load` read it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub oci: PathBuf,
    /// Name it has in the archive [default: the same].
    #[arg(long = "as", value_name = "NAME")]
    pub as_name: Option<String>,
}

/// How a registry is reached.
#[derive(Clone, Debug, Args)]
pub struct RegistryAccess {
    /// User of the registry [default: as `docker login` noted in ~/.docker/config.json].
    #[arg(long, short)]
    pub username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    /// Speak plain HTTP. Registries on this machine are always spoken to so.
    #[arg(long)]
    pub insecure: bool,
}

/// `kfctl image add`.
#[derive(Clone, Debug, Args)]
pub struct ImageAdd {
    /// Name that pods will use, such as `train:latest`.
    pub name: String,
    /// The folder.
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// Python packages to install [default: requirements.txt in the folder, where there is one].
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub requirements: Option<PathBuf>,
    /// Version of Python.
    #[arg(long, value_name = "3.x")]
    pub python: Option<String>,
    /// Program and arguments that run when a pod gives no command.
    #[arg(long)]
    pub entrypoint: Option<String>,
}

/// `kfctl login`.
#[derive(Clone, Debug, Args)]
pub struct Login {
    /// Print only the address.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `kfctl setup`.
#[derive(Clone, Debug, Args)]
pub struct Setup {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Take back what an earlier `setup` did.
    #[arg(long)]
    pub undo: bool,
}

/// `kfctl config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value.
    Show,
}

/// `kfctl completion`.
#[derive(Clone, Debug, Args)]
pub struct Completion {
    /// Which shell.
    #[arg(value_enum, default_value_t = clap_complete::Shell::Bash)]
    pub shell: clap_complete::Shell,
}

/// `kfctl version`.
#[derive(Clone, Debug, Args)]
pub struct Version {
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// The launcher's own installation.
#[derive(Clone, Debug, Subcommand)]
pub enum Launcher {
    /// Copy the launcher into a folder.
    Install {
        /// The folder, shared with the step's container.
        folder: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_guides_version_is_printed() {
        assert!(crate::version::LONG.starts_with("1.7.0"));
    }
}
