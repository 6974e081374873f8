//! What a container's process may do once it is inside: limits, capabilities, and never more than it started with.

use caps::{CapSet, Capability, CapsHashSet};

use super::failure::{Failure, While, check};
use crate::shim::{Capabilities, Limits};

/// Processes and threads of a container that asks for no limit: enough for any real workload, too few for a fork bomb to
/// hurt the machine.
const DEFAULT_PROCESSES: u64 = 8192;

/// What a container's root has by default: what owning one's own files, users and ports takes.
const DEFAULT: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// What may be given back on request. Everything else could undo the sandbox or means nothing inside a user namespace.
const GRANTABLE: &[Capability] = &[
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_IPC_OWNER,
    Capability::CAP_LEASE,
    Capability::CAP_LINUX_IMMUTABLE,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_RESOURCE,
];

/// The capabilities a container's root ends up with.
pub fn capability_set(wanted: &Capabilities) -> Vec<Capability> {
    let named = |names: &[String], capability: &Capability| {
        names.iter().any(|name| {
            let name = name.to_ascii_uppercase();
            name == "ALL"
                || capability.to_string().trim_start_matches("CAP_")
                    == name.trim_start_matches("CAP_")
        })
    };
    // An explicit name beats `ALL` on the other side, as in Kubernetes.
    let explicit = |names: &[String], capability: &Capability| {
        let rest: Vec<String> = names
            .iter()
            .filter(|name| !name.eq_ignore_ascii_case("ALL"))
            .cloned()
            .collect();
        named(&rest, capability)
    };
    DEFAULT
        .iter()
        .chain(GRANTABLE)
        .filter(|capability| {
            let by_default = DEFAULT.contains(capability);
            if explicit(&wanted.drop, capability) {
                false
            } else if explicit(&wanted.add, capability) {
                true
            } else {
                !named(&wanted.drop, capability) && (by_default || named(&wanted.add, capability))
            }
        })
        .copied()
        .collect()
}

/// Nothing this process executes can ever have more than `kept`. To be called while it still is root inside.
pub fn bound(kept: &[Capability]) -> Result<(), Failure> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let bounding = caps::read(None, CapSet::Bounding).during(|| "reading capabilities")?;
    for capability in bounding.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)
            .during(|| format!("dropping {capability}"))?;
    }
    caps::clear(None, CapSet::Ambient).during(|| "clearing ambient capabilities")?;
    caps::clear(None, CapSet::Inheritable).during(|| "clearing inheritable capabilities")
}

/// Keeps only `kept` for this process itself.
pub fn keep_only(kept: &[Capability]) -> Result<(), Failure> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let permitted = caps::read(None, CapSet::Permitted).during(|| "reading capabilities")?;
    let left: CapsHashSet = permitted.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Effective, &left).during(|| "dropping effective capabilities")?;
    caps::set(None, CapSet::Permitted, &left).during(|| "dropping permitted capabilities")
}

/// Nothing executed from now on gains rights by set-id bits or file capabilities.
pub fn forbid_gaining() -> Result<(), Failure> {
    // SAFETY: plain system call.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
        .during(|| "setting no_new_privs")
        .map(drop)
}

/// Sets the limits that need no cgroup. Inside the container's own user namespace the limit on processes counts the
/// container's alone.
pub fn limit(limits: &Limits) -> Result<(), Failure> {
    let processes = limits.processes.unwrap_or(DEFAULT_PROCESSES);
    set_limit(libc::RLIMIT_NPROC as i32, processes, "processes")?;
    set_limit(libc::RLIMIT_CORE as i32, 0, "core dumps")?;
    if let Some(files) = limits.open_files {
        set_limit(libc::RLIMIT_NOFILE as i32, files, "open files")?;
    }
    if let Some(bytes) = limits.address_space_bytes {
        set_limit(libc::RLIMIT_AS as i32, bytes, "address space")?;
    }
    Ok(())
}

/// Lowers a limit; one that is already lower stays.
fn set_limit(resource: i32, value: u64, what: &str) -> Result<(), Failure> {
    // SAFETY: the structure outlives both calls.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        check(libc::getrlimit(resource as _, &mut now).into())
            .during(|| format!("reading the limit of {what}"))?;
        let value = value.min(now.rlim_max);
        let new = libc::rlimit {
            rlim_cur: value,
            rlim_max: value,
        };
        check(libc::setrlimit(resource as _, &new).into())
            .during(|| format!("limiting {what} to {value}"))
            .map(drop)
    }
}

/// Makes the kernel choose this process earlier when memory runs out. Lowering would need rights and is ignored.
pub fn raise_oom_score(score: i32) {
    let now = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now < score) {
        // Advice only.
        let _ = std::fs::write("/proc/self/oom_score_adj", score.min(1000).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Vec<Capability> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        capability_set(&Capabilities {
            add: owned(add),
            drop: owned(drop),
        })
    }

    #[test]
    fn nothing_that_undoes_the_sandbox_is_ever_given() {
        let all = set(
            &["ALL", "SYS_ADMIN", "CAP_SYS_MODULE", "NET_ADMIN", "BPF"],
            &[],
        );
        for never in [
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_SYS_MODULE,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_BPF,
        ] {
            assert!(!all.contains(&never), "{never}");
        }
        assert!(all.contains(&Capability::CAP_SYS_PTRACE));
    }

    #[test]
    fn dropping_all_but_one_leaves_one() {
        assert_eq!(
            set(&["NET_BIND_SERVICE"], &["ALL"]),
            [Capability::CAP_NET_BIND_SERVICE]
        );
        assert_eq!(set(&[], &["all"]), []);
    }

    #[test]
    fn a_name_works_with_and_without_its_prefix() {
        assert!(!set(&[], &["CAP_CHOWN"]).contains(&Capability::CAP_CHOWN));
        assert!(set(&["sys_nice"], &[]).contains(&Capability::CAP_SYS_NICE));
    }
}
