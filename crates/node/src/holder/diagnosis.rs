//! Why namespaces are refused on this machine, in words, and what may be done. Pure, over facts read in one place.

use std::path::Path;

use nix::errno::Errno;

use super::wire::Step;

/// A step that this machine refuses, the likely cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {}: {cause}. Remedy: {remedy}", errno.desc())]
pub struct Refused {
    /// What was being done.
    pub doing: &'static str,
    /// Which step it was.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
    /// What most likely forbids it.
    pub cause: &'static str,
    /// What the user can do.
    pub remedy: &'static str,
}

/// What the machine says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Ubuntu since 23.10: namespaces made by ordinary users have no rights.
    pub apparmor_restricts: bool,
    /// Debian's old switch is off.
    pub clone_switched_off: bool,
    /// `user.max_user_namespaces`, if it can be read.
    pub most_user_namespaces: Option<u64>,
    /// A system-call filter is on us.
    pub is_filtered: bool,
    /// We run inside a container.
    pub in_container: bool,
    /// The server runs as root.
    pub is_root: bool,
}

impl Facts {
    /// Reads them.
    pub fn gather() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let number = |path: &str| read(path).and_then(|text| text.trim().parse::<u64>().ok());
        let status = read("/proc/self/status").unwrap_or_default();
        Self {
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                == Some(1),
            clone_switched_off: number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0),
            most_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            is_filtered: status.lines().any(|line| {
                line.strip_prefix("Seccomp:")
                    .is_some_and(|mode| mode.trim() == "2")
            }),
            in_container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|p| Path::new(p).exists()),
            is_root: nix::unistd::geteuid().is_root(),
        }
    }
}

/// Names the cause and the remedy of a refused step.
pub(crate) fn diagnose(step: Step, errno: Errno, facts: &Facts) -> Refused {
    let doing = match step {
        Step::Lock => "take the lock of the node's holder",
        Step::Bind => "bind the socket of the node's holder",
        Step::UserNamespace => "make a user namespace",
        Step::NetworkNamespace => "make a network namespace",
        Step::Rejoin => "go back into the node's namespaces",
        Step::IdMap => "map user ids into the node's namespace",
        Step::BecomeRoot => "become root of the node's namespace",
        Step::Socket => "make a socket in the node's network",
        Step::Veth => "make a pair of linked devices in the node's network",
        Step::Rules => "add rules to the node's network",
        Step::Request => "talk to the node's holder",
    };
    let (cause, remedy) = cause(step, errno, facts);
    Refused {
        doing,
        step,
        errno,
        cause,
        remedy,
    }
}

fn cause(step: Step, errno: Errno, facts: &Facts) -> (&'static str, &'static str) {
    let is_refusal = matches!(errno, Errno::EPERM | Errno::EACCES);
    let about_namespaces = matches!(
        step,
        Step::UserNamespace
            | Step::NetworkNamespace
            | Step::IdMap
            | Step::BecomeRoot
            | Step::Veth
            | Step::Rules
    );
    if about_namespaces && is_refusal {
        if facts.apparmor_restricts && !facts.is_root {
            return (
                "AppArmor on this system lets ordinary users' namespaces do nothing",
                "run `sudo kfctl setup` once (it adds an AppArmor profile for kfctl), or \
                 `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
            );
        }
        if facts.clone_switched_off && !facts.is_root {
            return (
                "ordinary users may not make user namespaces here",
                "run `sudo kfctl setup` once, or `sudo sysctl kernel.unprivileged_userns_clone=1`",
            );
        }
        if facts.in_container || facts.is_filtered {
            return (
                "the container this runs in forbids namespaces (Docker's default seccomp profile does)",
                "start the container with `--security-opt seccomp=unconfined --security-opt \
                 apparmor=unconfined`, or run kfctl outside of it",
            );
        }
    }
    match (step, errno) {
        (Step::UserNamespace | Step::NetworkNamespace, Errno::ENOSPC) => (
            "the limit of namespaces is reached or zero",
            "raise `sudo sysctl user.max_user_namespaces=15000 user.max_net_namespaces=15000`",
        ),
        (Step::UserNamespace, Errno::EINVAL | Errno::ENOSYS)
        | (Step::NetworkNamespace, Errno::EINVAL) => (
            "the kernel was built without these namespaces",
            "use a kernel with CONFIG_USER_NS and CONFIG_NET_NS",
        ),
        (Step::UserNamespace, _) if facts.most_user_namespaces == Some(0) => (
            "user namespaces are switched off",
            "run `sudo sysctl user.max_user_namespaces=15000`",
        ),
        (Step::IdMap, Errno::EINVAL) => (
            "this is root with no id to give away but root's own, and pods must not have that",
            "run kfctl as an ordinary user, or as root with all ids",
        ),
        (Step::Veth, Errno::EOPNOTSUPP | Errno::ENOENT | Errno::EINVAL) => (
            "the kernel has no veth devices",
            "load them with `sudo modprobe veth`, or use a kernel with CONFIG_VETH",
        ),
        (
            Step::Rules,
            Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EPROTONOSUPPORT,
        ) => (
            "the kernel lacks parts of nftables",
            "load them with `sudo modprobe -a nf_tables nft_chain_nat nft_numgen nft_reject_ipv4`",
        ),
        (Step::Socket, Errno::EMFILE | Errno::ENFILE) => (
            "too many open files",
            "raise the limit with `ulimit -n`, or stop other programs",
        ),
        (Step::Lock, Errno::EAGAIN) => (
            "another holder has it",
            "stop the other kfctl that uses this data folder",
        ),
        (Step::Lock | Step::Bind, _) => (
            "the data folder cannot be used",
            "check that the folder is yours and its disk is not full, or give another with `--data-dir`",
        ),
        _ => (
            "the system refused",
            "run kfctl on Linux 5.11 or later, outside of containers that forbid namespaces",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ubuntus_rule_is_named_whichever_step_it_stops() {
        let facts = Facts {
            apparmor_restricts: true,
            ..Facts::default()
        };
        for step in [
            Step::UserNamespace,
            Step::NetworkNamespace,
            Step::IdMap,
            Step::Veth,
        ] {
            let refused = diagnose(step, Errno::EPERM, &facts);
            assert!(refused.cause.contains("AppArmor"), "{refused}");
            assert!(refused.remedy.contains("kfctl setup"), "{refused}");
        }
    }

    #[test]
    fn a_containers_filter_is_named() {
        let facts = Facts {
            in_container: true,
            is_root: true,
            ..Facts::default()
        };
        let refused = diagnose(Step::UserNamespace, Errno::EPERM, &facts);
        assert!(
            refused.to_string().contains("seccomp=unconfined"),
            "{refused}"
        );
    }

    #[test]
    fn root_is_not_told_of_a_rule_for_ordinary_users() {
        let facts = Facts {
            apparmor_restricts: true,
            is_root: true,
            ..Facts::default()
        };
        let refused = diagnose(Step::UserNamespace, Errno::EPERM, &facts);
        assert!(!refused.cause.contains("AppArmor"), "{refused}");
    }

    #[test]
    fn a_reached_limit_says_how_to_raise_it() {
        let refused = diagnose(Step::UserNamespace, Errno::ENOSPC, &Facts::default());
        assert!(refused.remedy.contains("max_user_namespaces"), "{refused}");
    }

    #[test]
    fn a_full_disk_is_not_called_a_namespace_limit() {
        let refused = diagnose(Step::Lock, Errno::ENOSPC, &Facts::default());
        assert!(refused.cause.contains("data folder"), "{refused}");
    }
}
