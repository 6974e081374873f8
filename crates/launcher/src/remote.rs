//! Artifacts where no volume holds them: brought through the Pipelines API before the command starts, taken there after
//! it ended. The step's own token says which step asks, so that no path here names another's.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::http::{Client, escaped};
use crate::{Report, Step};

/// Where the API has what a step may do.
const PREFIX: &str = "/step";
/// What the launcher and the engine say to each other; no output.
const OURS: &str = ".step";

/// What an input consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    kind: Kind,
    /// Paths below it, where it is a folder.
    #[serde(default)]
    files: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Absent,
    File,
    Folder,
}

impl Listing {
    /// Nobody wrote it.
    pub fn absent() -> Self {
        Self {
            kind: Kind::Absent,
            files: Vec::new(),
        }
    }

    /// It is one file.
    pub fn file() -> Self {
        Self {
            kind: Kind::File,
            files: Vec::new(),
        }
    }

    /// It is a folder with these files, paths below it.
    pub fn folder(files: Vec<String>) -> Self {
        Self {
            kind: Kind::Folder,
            files,
        }
    }
}

/// The API, as one step sees it.
pub struct Remote(Client);

impl Remote {
    /// The API at `http://ADDRESS:PORT`, with the step's token.
    pub fn new(url: &str, token_file: &str) -> Result<Self, String> {
        Client::new(url, token_file).map(Self)
    }

    /// What the launcher is told.
    pub fn step(&self) -> Result<Step, String> {
        self.0.get(PREFIX, |answer| {
            serde_json::from_reader(answer.body).map_err(io::Error::other)
        })
    }

    /// Brings every input to its place.
    pub fn bring(&self, step: &Step) -> Result<(), String> {
        for (index, input) in step.inputs.iter().enumerate() {
            self.bring_one(index, Path::new(&input.path))
                .map_err(|problem| format!("could not bring the input {}: {problem}", input.uri))?;
        }
        Ok(())
    }

    fn bring_one(&self, index: usize, place: &Path) -> Result<(), String> {
        let base = format!("{PREFIX}/inputs/{index}");
        let listing: Listing = self.0.get(&base, |answer| {
            serde_json::from_reader(answer.body).map_err(io::Error::other)
        })?;
        match listing.kind {
            Kind::Absent => return Ok(()),
            Kind::File => return self.bring_file(&format!("{base}/content"), place),
            Kind::Folder => {}
        }
        fs::create_dir_all(place).map_err(|problem| problem.to_string())?;
        for file in &listing.files {
            let below = inside(place, file)?;
            self.bring_file(&format!("{base}/content?path={}", escaped(file)), &below)?;
        }
        Ok(())
    }

    fn bring_file(&self, path: &str, place: &Path) -> Result<(), String> {
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(|problem| problem.to_string())?;
        }
        self.0.get(path, |mut answer| {
            let mut file = fs::File::create(place)?;
            if io::copy(&mut answer.body, &mut file)? == answer.size_bytes {
                Ok(())
            } else {
                Err(io::Error::other("it did not come whole"))
            }
        })
    }

    /// Takes everything away that the command left among its outputs.
    pub fn take(&self, step: &Step) -> Result<(), String> {
        let top = Path::new(&step.outputs);
        let mut seen = HashSet::new();
        for entry in entries(top)? {
            if entry.file_name().is_some_and(|name| name != OURS) {
                self.take_below(top, &entry, &mut seen)?;
            }
        }
        Ok(())
    }

    /// Symlinks are followed: the other side knows none. `above`: the folders we are in.
    fn take_below(
        &self,
        top: &Path,
        path: &Path,
        above: &mut HashSet<PathBuf>,
    ) -> Result<(), String> {
        let problem = |problem: String| format!("could not keep {}: {problem}", path.display());
        let found = fs::metadata(path).map_err(|error| problem(error.to_string()))?;
        if found.is_dir() {
            let real = path
                .canonicalize()
                .map_err(|error| problem(error.to_string()))?;
            if !above.insert(real.clone()) {
                return Err(problem("it is a symlink to a folder above it".to_owned()));
            }
            for entry in entries(path)? {
                self.take_below(top, &entry, above)?;
            }
            above.remove(&real);
            return Ok(());
        }
        if !found.is_file() {
            return Err(problem("it is neither a file nor a folder".to_owned()));
        }
        let key = path.strip_prefix(top).ok().and_then(Path::to_str);
        let key = key.ok_or_else(|| problem("its name is not UTF-8".to_owned()))?;
        self.0
            .put_file(&format!("{PREFIX}/outputs?path={}", escaped(key)), path)
            .map_err(problem)
    }

    /// Hands over the report, which decides how the step ended.
    pub fn publish(&self, report: &Report) -> Result<(), String> {
        let text = serde_json::to_vec(report).map_err(|problem| problem.to_string())?;
        self.0.put(&format!("{PREFIX}/report"), &text)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |problem: io::Error| format!("{}: {problem}", folder.display());
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(problem) => return Err(failed(problem)),
    };
    entries.sort();
    Ok(entries)
}

/// A path of a listing, below its place whatever it says.
fn inside(place: &Path, file: &str) -> Result<PathBuf, String> {
    let is_plain = !file.is_empty()
        && file
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if is_plain {
        Ok(place.join(file))
    } else {
        Err(format!("it holds a file named {file:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_leads_nowhere_else() {
        let place = Path::new("/in");
        assert_eq!(inside(place, "a/b").unwrap(), Path::new("/in/a/b"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b"] {
            assert!(inside(place, bad).is_err(), "{bad:?}");
        }
    }
}
