//! The cluster's first process: it makes the inside of the namespaces, starts each part once the one
//! before is ready, and then only takes note of who ended. When it goes, the kernel ends all the rest.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::wait;

use super::place::{INSIDE, Place, Record};
use super::{Part, cell, containerd, control_plane, etcd, images, kubelet, network};

/// The line that says that all parts are ready.
pub const READY: &str = "ready";
/// How the line begins that says why there is no cluster.
pub const FAILED: &str = "failed: ";

/// How long a part may take to become ready.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the parts need to know of where they are: paths as seen inside.
pub struct Inside {
    /// The folder, at its place inside.
    pub place: Place,
    /// What was asked for.
    pub record: Record,
}

/// A question to a part: an error says why it is not ready yet.
type Question = dyn Fn(&Inside) -> Result<()>;

/// A part about to start, and how to tell that it is ready.
pub struct Start {
    /// The command.
    pub command: Command,
    /// Answers why not yet.
    pub is_ready: Box<Question>,
}

/// Starts everything and stays.
pub fn run(place: &Place) -> Result<()> {
    let record = place.record()?.context("find the cluster's record")?;
    let progress = place.progress();
    let mut say = {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&progress)
            .with_context(|| format!("open {}", progress.display()))?;
        move |line: &str| writeln!(file, "{line}").context("write progress")
    };
    match start_all(place, record, &mut say) {
        Ok(()) => say(READY)?,
        Err(error) => {
            say(&format!("{FAILED}{error:#}"))?;
            return Err(error);
        }
    }
    // Orphans of the whole cluster become ours.
    loop {
        match wait() {
            Ok(ended) => println!("ended: {ended:?}"),
            Err(Errno::ECHILD) => bail!("every part has ended"),
            Err(_) => {}
        }
    }
}

fn start_all(place: &Place, record: Record, say: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    make_mounts(place)?;
    network::enter(&record)?;
    let inside = Inside {
        place: Place::at(Some(INSIDE.into()))?,
        record,
    };
    for part in &inside.record.parts {
        let started = Instant::now();
        start(&inside, *part)?;
        if *part == Part::Containerd {
            images::add_pause(&inside)?;
        }
        say(&format!(
            "{} ready in {:.1} s",
            part.program(),
            started.elapsed().as_secs_f64()
        ))?;
    }
    Ok(())
}

/// The folder at its place inside, and over the three places where the parts write. The folder hides
/// nothing that they read.
fn make_mounts(place: &Place) -> Result<()> {
    bind(place.root(), Path::new(INSIDE))?;
    for (own, hidden) in [
        ("run", "/run"),
        ("var-lib", "/var/lib"),
        ("var-log", "/var/log"),
    ] {
        bind(&Path::new(INSIDE).join(own), Path::new(hidden))?;
    }
    kubelet::keep_from_kernel(&Path::new(INSIDE).join("sysctl"))?;
    // Volumes that the kubelet mounts must reach the containers.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
        None::<&str>,
    )
    .context("make mounts visible to containers")
}

/// One more name for a folder or file.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("mount {} on {}", from.display(), to.display()))
}

fn start(inside: &Inside, part: Part) -> Result<()> {
    let mut start = match part {
        Part::Etcd => etcd::start(inside),
        Part::ApiServer => control_plane::api_server(inside),
        Part::ControllerManager => control_plane::controller_manager(inside),
        Part::Scheduler => control_plane::scheduler(inside),
        Part::Containerd => containerd::start(inside)?,
        Part::Kubelet => kubelet::start(inside)?,
        Part::KubeProxy => kubelet::proxy(inside)?,
        Part::Dns => kubelet::dns(inside)?,
    };
    let name = part.program();
    let log = inside.place.log(name);
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut child = start
        .command
        .arg0(name)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    await_ready(inside, name, &log, &mut child, &*start.is_ready)
}

fn await_ready(
    inside: &Inside,
    name: &str,
    log: &Path,
    child: &mut Child,
    is_ready: &Question,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("{name} ended with {status}: {}", cell::last_line(log));
        }
        match is_ready(inside) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!(
                    "{name} was not ready within {} s: {error:#}",
                    PATIENCE.as_secs()
                );
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl Inside {
    /// A program of the cluster.
    pub fn command(&self, part: Part) -> Command {
        Command::new(self.place.program(part.program()))
    }

    /// A file among the keys.
    pub fn key(&self, name: &str) -> String {
        self.place.keys().join(name).display().to_string()
    }

    /// What the API server answers to kubectl as administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(self.place.program("kubectl"))
            .arg("--kubeconfig")
            .arg(self.place.kubeconfig())
            .args(arguments)
            .env("HOME", INSIDE)
            .output()
            .context("start kubectl")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether something answers 200 to a plain HTTP request.
pub fn answers(address: &str, path: &str) -> Result<()> {
    use std::io::Read;
    let mut stream =
        std::net::TcpStream::connect(address).with_context(|| format!("reach {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    if answer.starts_with("HTTP/1.") && answer.contains(" 200 ") {
        return Ok(());
    }
    read.map(drop)?;
    bail!(
        "{address}{path} answers {}",
        answer.lines().next().unwrap_or("nothing")
    )
}

/// Writes one of the parts' own files.
pub fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
