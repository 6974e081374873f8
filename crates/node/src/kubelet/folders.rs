//! Where a pod's files are: `<data>/pods/<namespace>_<pod>_<uid>`, with its logs under the containers' names. What else
//! is kept there has names that no container can have.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::record::PodRecord;

/// The file in a run's folder that names its Python environment.
pub const ENVIRONMENT: &str = "environment";

/// The folders of all pods of a node.
#[derive(Debug, Clone)]
pub struct Folders {
    pods: PathBuf,
}

/// The folder of one pod.
#[derive(Debug, Clone)]
pub struct PodFolder {
    path: PathBuf,
}

/// What is written about a pod, so that a restarted server knows it again.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    uid: String,
    record: PodRecord,
}

impl Folders {
    /// Folders below `<data>/pods`.
    pub fn new(data: &Path) -> Self {
        Self {
            pods: data.join("pods"),
        }
    }

    /// The folder of a pod, whether it exists or not.
    pub fn of(&self, namespace: &str, name: &str, uid: &str) -> PodFolder {
        PodFolder {
            path: self.pods.join(format!("{namespace}_{name}_{uid}")),
        }
    }

    /// The folder of a pod object.
    pub fn of_pod(&self, pod: &Pod) -> PodFolder {
        self.of(
            &pod.namespace().unwrap_or_default(),
            &pod.name_any(),
            &pod.uid().unwrap_or_default(),
        )
    }

    /// The environments that runs of this node's pods were given.
    pub fn environments_in_use(&self) -> Vec<String> {
        let runs = self
            .all()
            .into_iter()
            .map(|(_, folder)| folder.path.join("_runs"));
        let below = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path())
        };
        runs.flat_map(below)
            .flat_map(below)
            .filter_map(|run| fs::read_to_string(run.join(ENVIRONMENT)).ok())
            .collect()
    }

    /// All folders that exist, with the uid of each one's pod.
    pub fn all(&self) -> Vec<(String, PodFolder)> {
        let entries = fs::read_dir(&self.pods).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let uid = name.rsplit('_').next()?.to_owned();
                Some((uid, PodFolder { path: entry.path() }))
            })
            .collect()
    }
}

impl PodFolder {
    /// Makes it, for its owner only.
    pub fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the shim keeps what it needs.
    pub fn shim(&self) -> PathBuf {
        self.path.join("_shim")
    }

    /// Where the pod's volumes are.
    pub fn volumes(&self) -> PathBuf {
        self.path.join("_volumes")
    }

    /// What belongs to one run of a container and nobody else.
    pub fn run(&self, container: &str, restarts: u32) -> PathBuf {
        self.path
            .join("_runs")
            .join(container)
            .join(restarts.to_string())
    }

    /// The log of one run of a container.
    pub fn log(&self, container: &str, restarts: u32) -> PathBuf {
        self.path.join(container).join(format!("{restarts}.log"))
    }

    /// The pod's record, if one was written for this pod.
    pub fn read(&self, uid: &str) -> Option<PodRecord> {
        let text = fs::read(self.path.join("_record.json")).ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        (written.uid == uid).then_some(written.record)
    }

    /// Writes the pod's record in one step.
    pub fn write(&self, uid: &str, record: &PodRecord) -> io::Result<()> {
        let next = self.path.join("_record.json.next");
        let text = serde_json::to_vec(&Written {
            uid: uid.to_owned(),
            record: record.clone(),
        })?;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&next)?;
        io::Write::write_all(&mut file, &text)?;
        fs::rename(&next, self.path.join("_record.json"))
    }

    /// Removes everything but the logs and the record; and the volumes, where the pod will run again.
    pub fn strip(&self, keep_volumes: bool) -> io::Result<()> {
        crate::shim::remove(&self.shim())?;
        crate::shim::remove(&self.path.join("_runs"))?;
        if keep_volumes {
            return Ok(());
        }
        crate::shim::remove(&self.volumes())
    }

    /// Removes it whole.
    pub fn remove(&self) -> io::Result<()> {
        crate::shim::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_only_for_the_pod_it_was_written_for() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = Folders::new(data.path()).of("ns", "p", "u1");
        folder.make().expect("made");
        let record = PodRecord {
            has_sandbox: true,
            ..PodRecord::default()
        };
        folder.write("u1", &record).expect("written");
        assert_eq!(folder.read("u1"), Some(record));
        assert_eq!(folder.read("u2"), None);
        assert_eq!(Folders::new(data.path()).all()[0].0, "u1");
    }

    #[test]
    fn an_environment_is_in_use_as_long_as_the_run_that_was_given_it_has_a_folder() {
        let data = tempfile::tempdir().expect("a folder");
        let folders = Folders::new(data.path());
        let folder = folders.of("ns", "p", "u1");
        fs::create_dir_all(folder.run("c", 0)).expect("made");
        fs::write(folder.run("c", 0).join(ENVIRONMENT), "key").expect("written");
        assert_eq!(folders.environments_in_use(), ["key"]);
        folder.strip(false).expect("stripped");
        assert!(folders.environments_in_use().is_empty());
    }

    #[test]
    fn logs_stay_when_the_rest_goes() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = Folders::new(data.path()).of("ns", "p", "u1");
        fs::create_dir_all(folder.volumes()).expect("made");
        fs::create_dir_all(folder.log("c", 0).parent().expect("a parent")).expect("made");
        fs::write(folder.log("c", 0), "x").expect("written");
        folder.strip(true).expect("stripped");
        assert!(folder.volumes().exists());
        folder.strip(false).expect("stripped");
        assert!(!folder.volumes().exists() && folder.log("c", 0).exists());
        folder.remove().expect("removed");
        assert!(!folder.path().exists());
    }
}
