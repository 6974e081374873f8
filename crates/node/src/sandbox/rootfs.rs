//! A container's root file system: collected from the host as detached trees while the host is still visible, put together
//! as the pod's root, and then made the only thing there is.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use super::failure::{Failure, While};
use super::host_tree::{self, Shown, place};
use super::ids::PodIds;
use super::mount::{self, NO_DEVICES, NO_SETUID, READ_ONLY};
use super::pause::{self, Pause};
use super::{devices, places, proc, process};
use crate::shim::{ContainerSpec, Mount, PodSpec, Root};

/// What is put together, and where its writable layer lies.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The pod.
    pub pod: &'a PodSpec,
    /// The container.
    pub container: &'a ContainerSpec,
    /// A folder of this attempt's own.
    pub scratch: &'a Path,
}

impl Plan<'_> {
    /// Makes the folders of the writable layer, as the owner.
    pub fn prepare(&self) -> Result<(), Failure> {
        for path in self.layer_folders() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .during(|| format!("making the writable layer {}", path.display()))?;
        }
        Ok(())
    }

    /// The container's own files, and what overlayfs needs beside them.
    fn layer_folders(&self) -> [PathBuf; 2] {
        [UPPER, WORK].map(|name| self.scratch.join(name))
    }

    /// Everything bound into the container, parents first.
    fn mounts(&self) -> Vec<Mount> {
        let own = pause::etc_files(self.pod)
            .into_iter()
            .map(|(target, _)| Mount {
                // In a file system of the pod's own, ids are the pod's already.
                owned_by_pod: false,
                ..Mount::writable(pause::etc_file(&target), target)
            })
            .filter(|own| {
                let wanted = &self.container.mounts;
                !wanted.iter().any(|mount| mount.target == own.target)
            });
        let mut mounts: Vec<Mount> = own.chain(self.container.mounts.iter().cloned()).collect();
        mounts.sort_by_key(|mount| mount.target.components().count());
        mounts
    }
}

const UPPER: &str = "upper";
const WORK: &str = "work";

/// Trees cloned so far; what is `None` is cloned later, as the host's ids.
#[derive(Debug, Default)]
pub struct Early {
    lower: Option<OwnedFd>,
    layer: Option<OwnedFd>,
    mounts: Vec<Option<OwnedFd>>,
}

/// As the host's root, before any namespace is entered: clones the pod's own trees with their ids mapped.
pub fn collect_early(plan: &Plan<'_>, pause: &Pause) -> Result<Early, Failure> {
    let mut early = Early::default();
    if !pause.ids.is_range() {
        return Ok(early);
    }
    let mapped = |source: OwnedFd| {
        let tree = mount::clone_tree(source.as_fd()).ok()?;
        mount::map_ids(tree.as_fd(), pause.user_namespace().as_fd()).ok()?;
        Some(tree)
    };
    if let Root::Folder { path } = &plan.container.root {
        early.lower = mapped(open_source(path)?);
    }
    early.layer = mapped(open_source(plan.scratch)?);
    if early.layer.is_none() {
        // This file system cannot map ids: the layer belongs to the pod's root by number instead.
        let owner = Some(plan.pod.host_ids.first);
        let [upper, work] = plan.layer_folders();
        for folder in [plan.scratch, &upper, &work] {
            chown(folder, owner, owner)
                .during(|| format!("giving {} to the pod", folder.display()))?;
        }
    }
    for entry in plan.mounts() {
        let is_memory = pause::memory_volume(plan.pod, &entry.source).is_some();
        early.mounts.push(if entry.owned_by_pod && !is_memory {
            mapped(open_mount(plan.pod, &entry)?)
        } else {
            None
        });
    }
    Ok(early)
}

fn open_source(path: &Path) -> Result<OwnedFd, Failure> {
    mount::open_path(path).during(|| format!("opening {}", path.display()))
}

fn open_mount(pod: &PodSpec, entry: &Mount) -> Result<OwnedFd, Failure> {
    let path = pause::memory_volume(pod, &entry.source).unwrap_or_else(|| entry.source.clone());
    let source = mount::open_path(&path)
        .during(|| format!("opening the volume mounted at {}", entry.target.display()))?;
    match &entry.sub_path {
        None => Ok(source),
        Some(sub_path) => places::sub_path(&source, sub_path).during(|| {
            format!(
                "resolving subPath {} of the volume mounted at {}",
                sub_path.display(),
                entry.target.display()
            )
        }),
    }
}

/// In a mount namespace of its own that still shows the host: builds the root, enters it, and lets the host go.
/// The process is the pod's root afterwards.
pub fn build(plan: &Plan<'_>, ids: PodIds, mut early: Early) -> Result<(), Failure> {
    // 1. While this process still has the host user's access: a descriptor for everything that is to be shown.
    let clone = |source: OwnedFd, what: &dyn std::fmt::Display| {
        mount::clone_tree(source.as_fd()).during(|| format!("cloning {what}"))
    };
    let shown = match &plan.container.root {
        Root::HostReadOnly { allow } => host_tree::collect(allow)?,
        Root::Folder { .. } => Vec::new(),
    };
    let nodes = devices::collect(&plan.container.devices)?;
    let null = open_source(Path::new("/dev/null"))?;
    let shared_memory = clone(
        open_source(&pause::shared_memory())?,
        &"the pod's shared memory",
    )?;
    let layer = match early.layer.take() {
        Some(tree) => tree,
        None => clone(open_source(plan.scratch)?, &"the writable layer")?,
    };
    let lower = match (&plan.container.root, early.lower.take()) {
        (Root::Folder { path }, None) => Some(clone(open_source(path)?, &path.display())?),
        (_, lower) => lower,
    };
    let mut mounts = Vec::new();
    for (index, entry) in plan.mounts().into_iter().enumerate() {
        let step = || format!("preparing the mount at {}", entry.target.display());
        let tree = match early.mounts.get_mut(index).and_then(Option::take) {
            Some(tree) => tree,
            None => mount::clone_tree(open_mount(plan.pod, &entry)?.as_fd()).during(step)?,
        };
        let attributes = NO_SETUID | NO_DEVICES | if entry.read_only { READ_ONLY } else { 0 };
        mount::restrict(tree.as_fd(), attributes).during(step)?;
        mounts.push((entry, tree));
    }
    // 2. As the pod's root: put it together.
    process::become_user(0, 0, ids.is_range().then_some(&[]))
        .during(|| "becoming the pod's root")?;
    let base = mount::new_filesystem("tmpfs", &[("mode", Some("755"))], NO_DEVICES)
        .during(|| "making the root's base")?;
    let site = mount::open_path(pause::memory_site()).during(|| "opening the root's site")?;
    mount::attach(base.as_fd(), site.as_fd()).during(|| "mounting the root's base")?;
    place(base.as_fd(), Path::new("layer"), layer.as_fd())
        .during(|| "mounting the writable layer")?;
    let root = match &lower {
        Some(image) => {
            place(base.as_fd(), Path::new("lower"), image.as_fd())
                .during(|| "mounting the image")?;
            overlay(&base, image, &layer)?
        }
        None => host_root(plan, &base, &layer, &shown, &mounts)?,
    };
    drop::<Vec<Shown>>(shown);
    proc::furnish(root.as_fd(), null.as_fd(), base.as_fd())?;
    devices::furnish(root.as_fd(), &nodes, shared_memory.as_fd(), ids.is_range())?;
    for (entry, tree) in &mounts {
        place(root.as_fd(), &entry.target, tree.as_fd())
            .during(|| format!("mounting at {}", entry.target.display()))?;
    }
    let cwd = cwd_of(plan.container);
    places::folder(&root, cwd).during(|| format!("making the working folder {}", cwd.display()))?;
    // 3. Nothing else from here on.
    let attributes = NO_DEVICES
        | NO_SETUID
        | if plan.container.read_only_root {
            READ_ONLY
        } else {
            0
        };
    mount::restrict_top(root.as_fd(), attributes).during(|| "restricting the root")?;
    mount::pivot(root.as_fd()).during(|| "entering the root")
}

/// The root of a container without an image, with the host's trees in it. Some sixty places to mount on are needed for that.
/// They are made in memory, below the layer: on a disk each would be an operation of its own, and one more to remove it.
fn host_root(
    plan: &Plan<'_>,
    base: &OwnedFd,
    layer: &OwnedFd,
    shown: &[Shown],
    mounts: &[(Mount, OwnedFd)],
) -> Result<OwnedFd, Failure> {
    let places = places::folder(base, Path::new("places")).during(|| "making the root's places")?;
    host_tree::lay_out(places.as_fd(), shown, &plan.container.user)?;
    for path in ["/proc", "/sys", "/dev"] {
        places::folder(&places, Path::new(path)).during(|| format!("making {path}"))?;
    }
    for (entry, tree) in mounts {
        host_tree::reserve(places.as_fd(), &entry.target, tree.as_fd())
            .during(|| format!("making the place to mount at {}", entry.target.display()))?;
    }
    places::folder(&places, cwd_of(plan.container)).during(|| {
        format!(
            "making the working folder {}",
            cwd_of(plan.container).display()
        )
    })?;
    let root = match overlay(base, &places, layer) {
        Ok(root) => root,
        // Not every kernel lets a pod do that, nor every file system below the layer; then the layer holds the places, too.
        Err(_) => {
            let step = || "mounting the root";
            let upper = places::folder(layer, Path::new(UPPER)).during(step)?;
            host_tree::lay_out(upper.as_fd(), shown, &plan.container.user)?;
            let root = mount::clone_tree(upper.as_fd()).during(step)?;
            place(base.as_fd(), Path::new("root"), root.as_fd()).during(step)?;
            root
        }
    };
    host_tree::attach(root.as_fd(), shown)?;
    Ok(root)
}

fn cwd_of(container: &ContainerSpec) -> &Path {
    container.cwd.as_deref().unwrap_or(Path::new("/"))
}

/// What is below, seen through the layer, which alone is written to; mounted at the base's `root`.
fn overlay(base: &OwnedFd, below: &OwnedFd, layer: &OwnedFd) -> Result<OwnedFd, Failure> {
    let open =
        |path: &str| places::folder(layer, Path::new(path)).during(|| "opening the writable layer");
    let (upper, work) = (open(UPPER)?, open(WORK)?);
    let (below, upper, work) = (
        mount::path_of(below.as_fd()),
        mount::path_of(upper.as_fd()),
        mount::path_of(work.as_fd()),
    );
    let options = [
        ("lowerdir", Some(below.as_str())),
        ("upperdir", Some(upper.as_str())),
        ("workdir", Some(work.as_str())),
        ("userxattr", None),
        // The layer goes with its container: nothing in it needs to be safe on the disk, and the container's end must not
        // wait until everything else that was written to that disk is.
        ("volatile", None),
    ];
    let step = || "laying the writable layer over the image (overlayfs)";
    let root = mount::new_filesystem("overlay", &options, NO_DEVICES).during(step)?;
    if mount::is_read_only(root.as_fd()).during(step)? {
        return Err(Failure(format!(
            "{}: the file system of the pods' folder cannot carry such a layer",
            step()
        )));
    }
    place(base.as_fd(), Path::new("root"), root.as_fd()).during(step)?;
    Ok(root)
}
