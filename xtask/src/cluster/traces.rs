//! What a cluster could leave behind on this machine, looked at before it starts and after it ended.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Place, cell, kubelet};

/// Set for every process of a cluster, to the cluster's folder.
pub const MARK: &str = "FERROFLOW_CLUSTER";

/// What there is at one moment, each thing with what it is.
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at this machine.
    pub fn now(place: &Place) -> Result<Self> {
        let mut found = BTreeSet::new();
        let mut add = |what: &str, lines: &str| {
            found.extend(lines.lines().map(|line| format!("{what}: {}", line.trim())));
        };
        add("mount", &mounts()?);
        for entry in fs::read_dir("/sys/class/net")? {
            add("link", &entry?.file_name().to_string_lossy());
        }
        add("network namespace", &said("ip", &["netns", "list"]));
        add("route", &said("ip", &["route", "show", "table", "all"]));
        add("rule of nftables", &said("nft", &["list", "ruleset"]));
        add("set", &said("ipset", &["list", "-name"]));
        for (setting, _) in kubelet::WHOLE_MACHINE {
            let value = fs::read_to_string(format!("/proc/sys/{setting}")).unwrap_or_default();
            add("setting", &format!("{setting} = {value}"));
        }
        for hierarchy in cell::hierarchies()? {
            let group = hierarchy.join(place.mark());
            if group.exists() {
                add("cgroup", &group.display().to_string());
            }
        }
        for process in processes(place) {
            add("process", &process);
        }
        Ok(Self(found))
    }

    /// Fails, naming what is there now and was not before.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let left: Vec<&str> = self.0.difference(&before.0).map(String::as_str).collect();
        if left.is_empty() {
            return Ok(());
        }
        bail!("the cluster left behind:\n  {}", left.join("\n  "))
    }
}

/// Mounts without their counters.
fn mounts() -> Result<String> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    let without_options = text.lines().map(|line| {
        line.split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    });
    Ok(without_options.collect::<Vec<_>>().join("\n"))
}

/// What a program prints; nothing where it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Processes that carry the cluster's mark in their environment.
fn processes(place: &Place) -> Vec<String> {
    let mark = format!("{MARK}={}", place.root().display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            fs::read(entry.path().join("environ")).is_ok_and(|text| {
                text.split(|byte| *byte == 0)
                    .any(|pair| pair == mark.as_bytes())
            })
        })
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            format!("{} {}", entry.file_name().to_string_lossy(), name.trim())
        })
        .collect()
}
