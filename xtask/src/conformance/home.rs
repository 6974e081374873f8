//! An embedded Kubernetes with nothing installed, in a data folder of its own, for as long as the suite runs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// The folder of this machine that tests mount into their pods.
const SHARED: &str = "/tmp/job-e2e";

/// The server and its folder.
pub struct Home {
    kfctl: PathBuf,
    data: PathBuf,
}

impl Home {
    /// A home that does not run yet.
    pub fn new(kfctl: PathBuf) -> Result<Self> {
        let data =
            std::env::temp_dir().join(format!("ferroflow-conformance-{}", std::process::id()));
        std::fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        Ok(Self { kfctl, data })
    }

    fn call(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kfctl);
        command
            .args(arguments)
            .env("FERROFLOW_DATA_DIR", &self.data);
        command
    }

    /// Gives it the image in `archive`.
    pub fn load(&self, archive: &Path) -> Result<()> {
        let output = self
            .call(&["image", "load"])
            .arg(archive)
            .output()
            .with_context(|| format!("start {}", self.kfctl.display()))?;
        anyhow::ensure!(
            output.status.success(),
            "load the image {}: {}",
            archive.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts it, on ports that are free now.
    pub fn start(&self) -> Result<()> {
        // Tests of Jobs let pods of one node find each other there.
        std::fs::create_dir_all(SHARED).with_context(|| format!("create {SHARED}"))?;
        let [console, api] = free_ports()?.map(|port| port.to_string());
        step::run(
            "start the embedded Kubernetes",
            &mut self.call(&[
                "up",
                "--bare",
                "--detach",
                "--allow-host-path",
                SHARED,
                "--port",
                &console,
                "--api-port",
                &api,
            ]),
        )
    }

    /// How it is reached.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// What it says while it runs.
    pub fn log(&self) -> PathBuf {
        self.data.join("kfctl.log")
    }

    /// Ends it and removes its folder.
    pub fn end(&self) -> Result<()> {
        step::run("end the embedded Kubernetes", &mut self.call(&["down"]))?;
        std::fs::remove_dir_all(&self.data)
            .with_context(|| format!("remove {}", self.data.display()))
    }
}

fn free_ports() -> Result<[u16; 2]> {
    // Both are held at once, so that they differ.
    let held = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let [first, second] = held.each_ref().map(|listener| listener.local_addr());
    Ok([first?.port(), second?.port()])
}
