//! The command line as the user sees it. Each command's work is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::config::{Durability, GpuFallback, MemoryFallback};

/// A whole Kubeflow in one binary: pipelines on your own machine, or on any Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kfctl", version = crate::version::LONG, about, max_term_width = 100)]
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
    Up(Up),
    /// Stop the platform; interrupted steps resume at the next `up`.
    Down(Down),
    /// Show components, pods, memory and data size.
    Status(Status),
    /// Compile and run a pipeline, and follow it.
    Run(Run),
    /// List pipeline runs.
    Runs(Runs),
    /// Show the log of a run's steps.
    Logs(Logs),
    /// Manage images: from plain folders, archives and registries, and to them.
    #[command(subcommand)]
    Image(Image),
    /// Print a one-time address that signs a browser in.
    Login(Login),
    /// Once, with sudo: allow what this machine refuses to ordinary users.
    Setup(Setup),
    /// Show the configuration in force.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print shell completion.
    Completion(Completion),
    /// Print the version.
    Version(Version),
    /// Run one component (what the installed Deployments call).
    #[command(subcommand, hide = true)]
    Controller(Controller),
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
    /// Add the context `ferroflow` to your kubeconfig (nothing there is overwritten).
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
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// `kfctl run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
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
    /// How many.
    #[arg(long, default_value_t = 20)]
    pub limit: u16,
    /// Output form.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// `kfctl logs`.
#[derive(Clone, Debug, Args)]
pub struct Logs {
    /// Id of the run, its name, or `last`.
    pub run: String,
    /// One step; all of them in order where none is named.
    pub step: Option<String>,
    /// Go on as lines come.
    #[arg(long, short)]
    pub follow: bool,
}

/// `kfctl image`.
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

/// Components that run as Deployments.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Controller {
    /// Pipelines: engine and API.
    Pipelines,
    /// The front door.
    Console,
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
