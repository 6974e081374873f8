//! Programs built from Go modules of this checkout, kept in the cache under a name that follows from their sources, so
//! that each is built once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{paths, step};

/// One program and what it is built from.
pub struct Program<'a> {
    /// As people call it.
    pub what: &'a str,
    /// The module's folder, from the root of the checkout.
    pub module: &'a str,
    /// The package in it or in what it depends on; `.` for its own.
    pub package: &'a str,
    /// What the file is called in the cache.
    pub name: &'a str,
    /// More flags for the linker.
    pub linker_flags: &'a str,
    /// The package's tests as a program, instead of the package.
    pub is_tests: bool,
    /// Without any library of this machine, so that it runs in every image.
    pub is_static: bool,
}

impl Program<'_> {
    /// The program's file, built if the cache has none of the same sources.
    pub fn build(&self) -> Result<PathBuf> {
        let sources = paths::root().join(self.module);
        let programs = paths::cache().join("cluster/programs");
        let program = programs.join(format!("{}-{}", self.name, self.key(&sources)?));
        if program.is_file() {
            return Ok(program);
        }
        if !step::has("go") {
            bail!(
                "{} is built from its Go module and this machine has no Go; install Go 1.26 or newer",
                self.what
            );
        }
        fs::create_dir_all(&programs).with_context(|| format!("create {}", programs.display()))?;
        let unfinished = programs.join(format!("{}.{}", self.name, std::process::id()));
        let mut go = step::command("go");
        if self.is_tests {
            go.args(["test", "-c", "-vet=off"]);
        } else {
            go.arg("build");
        }
        go.args(["-trimpath", "-ldflags"])
            .arg(format!("-s -w {}", self.linker_flags))
            .arg("-o")
            .arg(&unfinished)
            .arg(self.package)
            .current_dir(&sources);
        if self.is_static {
            go.env("CGO_ENABLED", "0");
        }
        step::run(&format!("build {} from its Go module", self.what), &mut go)?;
        fs::rename(&unfinished, &program).with_context(|| format!("keep {}", program.display()))?;
        Ok(program)
    }

    fn key(&self, sources: &Path) -> Result<String> {
        let mut digest = Sha256::new();
        let mut files: Vec<PathBuf> = fs::read_dir(sources)
            .with_context(|| format!("list {}", sources.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "go" || extension == "mod")
        });
        files.sort();
        for file in files {
            digest.update(fs::read(&file).with_context(|| format!("read {}", file.display()))?);
        }
        digest.update(self.package);
        digest.update(self.linker_flags);
        digest.update([u8::from(self.is_static)]);
        let mut key = String::new();
        for byte in &digest.finalize()[..6] {
            key += &format!("{byte:02x}");
        }
        Ok(key)
    }
}
