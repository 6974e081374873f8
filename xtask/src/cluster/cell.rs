//! The cluster's namespaces from outside: they begin with one process and end with it. The kernel ends
//! every process in them, takes down the mounts and removes the network; the cgroups are left to us.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::place::{Place, Record};
use super::{hold, network, traces};
use crate::step;

/// How long one part may take to answer.
const PATIENCE: Duration = Duration::from_secs(240);

/// A process that is told from a later one with the same number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// As this machine counts.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    started: String,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let started = started(pid)?;
        Some(Self { pid, started })
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|started| started == self.started)
    }
}

/// When a process started; none for one that ended and was not yet taken note of.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?;
    (!matches!(state, "Z" | "X")).then(|| started.to_owned())
}

/// Starts the namespaces and in them what the record names; shows each part as it becomes ready.
pub fn begin(place: &Place, mut record: Record) -> Result<()> {
    let _ = fs::remove_file(place.progress());
    place.keep(&record)?;
    make_cgroups(place)?;
    let log = File::create(place.log("hold")).context("create the log of the first process")?;
    // `setsid` lets it outlive the terminal; `unshare` stays as its parent and waits for it.
    let mut outer = Command::new("setsid")
        .args([
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--propagation",
            "private",
            "--",
        ])
        .arg(std::env::current_exe().context("find this program")?)
        .args(["cluster", "hold", "--dir"])
        .arg(place.root())
        .env(traces::MARK, place.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start unshare (Debian: util-linux)")?;
    let started = first_process(place, &mut outer).and_then(|process| {
        let pid = process.pid;
        record.process = Some(process);
        place.keep(&record)?;
        network::join(place, &record, pid)?;
        follow(place, &mut outer)
    });
    if started.is_err() {
        end(place)?;
    }
    started
}

/// The first process inside, known by its parent.
fn first_process(place: &Place, outer: &mut Child) -> Result<Process> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let child = fs::read_to_string(children)
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse().ok());
        if let Some(process) = child.and_then(Process::of) {
            return Ok(process);
        }
        if let Some(status) = outer.try_wait()? {
            bail!(
                "unshare ended with {status}: {}",
                last_line(&place.log("hold"))
            );
        }
        if Instant::now() > deadline {
            bail!("unshare started nothing within 10 s");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Shows the lines of progress until the last one.
fn follow(place: &Place, outer: &mut Child) -> Result<()> {
    let mut offset = 0;
    let mut last = Instant::now();
    loop {
        if let Ok(mut file) = File::open(place.progress()) {
            file.seek(SeekFrom::Start(offset))?;
            let mut lines = BufReader::new(file);
            let mut line = String::new();
            while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
                offset += line.len() as u64;
                last = Instant::now();
                match line.trim_end() {
                    hold::READY => return Ok(()),
                    said => match said.strip_prefix(hold::FAILED) {
                        Some(reason) => bail!("the cluster did not start: {reason}"),
                        None => step::announce(said),
                    },
                }
                line.clear();
            }
        }
        if let Some(status) = outer.try_wait()? {
            bail!(
                "the cluster's first process ended with {status}: {}",
                last_line(&place.log("hold"))
            );
        }
        if last.elapsed() > PATIENCE {
            bail!(
                "no part became ready within {} s; see {}",
                PATIENCE.as_secs(),
                place.log("hold").display()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The last line of a log that says something.
pub fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").to_owned()
}

/// Ends the cluster of `place`, whatever of it is there.
pub fn end(place: &Place) -> Result<()> {
    if let Some(process) = place.record()?.and_then(|record| record.process)
        && process.is_alive()
    {
        // The kernel waits for all others in the namespace before it lets the first one go.
        let pid = i32::try_from(process.pid).context("a process number")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).context("end the cluster's first process")?;
        until("the cluster's processes end", || !process.is_alive())?;
    }
    until("the cluster's link is gone", || !network::is_joined(place))?;
    remove_cgroups(place)?;
    place.forget()
}

fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        if Instant::now() > deadline {
            bail!("waited 60 s until {what}, in vain");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Every hierarchy of cgroups: one for each controller, or one for all.
pub fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).context("list /sys/fs/cgroup")? {
        let path = entry?.path();
        if path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// All pods together weigh as much as a dozen processes outside, not as one: else they starve beside a compilation.
const WEIGHT: [(&str, &str); 2] = [("cpu.shares", "12288"), ("cpu.weight", "1200")];

/// A cgroup for all pods in every hierarchy; the kubelet wants to find it.
fn make_cgroups(place: &Place) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(place.mark());
        fs::create_dir_all(&group).with_context(|| format!("create {}", group.display()))?;
        for inherited in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(inherited)) {
                fs::write(group.join(inherited), value)
                    .with_context(|| format!("set {inherited} of {}", group.display()))?;
            }
        }
        for (setting, value) in WEIGHT {
            let file = group.join(setting);
            if file.exists() {
                fs::write(&file, value).with_context(|| format!("set {}", file.display()))?;
            }
        }
    }
    Ok(())
}

fn remove_cgroups(place: &Place) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(place.mark());
        if group.exists() {
            until("the cluster's cgroups are empty", || {
                remove_cgroup(&group).is_ok()
            })?;
        }
    }
    Ok(())
}

fn remove_cgroup(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
