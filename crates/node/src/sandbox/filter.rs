//! System calls no pod may make: whatever could undo its walls, or reaches parts of the kernel that pods have no business
//! with. Everything else is allowed. Refused calls fail with EPERM, `clone3` with ENOSYS so that programs fall back to
//! `clone`, whose flags can be looked at.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::failure::{Failure, While};

/// Never allowed.
const DENIED: &[i64] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // Large or shared kernel interfaces.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_move_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Both filters, compiled: the refusals, and the one call that must seem not to exist.
pub fn compile() -> Result<Vec<BpfProgram>, Failure> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let flag = |argument: u8, flag: u64| {
        let condition = SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        );
        condition
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .during(|| "building the system call filter")
    };
    let clone_rules = NEW_NAMESPACES
        .iter()
        .map(|kind| flag(0, *kind as u64))
        .collect::<Result<_, _>>()?;
    denied.insert(libc::SYS_clone, clone_rules);
    // Typing into the terminal of somebody else.
    let mut ioctl_rules = Vec::new();
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        let condition =
            SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request);
        ioctl_rules.push(
            condition
                .and_then(|condition| SeccompRule::new(vec![condition]))
                .during(|| "building the system call filter")?,
        );
    }
    denied.insert(libc::SYS_ioctl, ioctl_rules);
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    [(denied, libc::EPERM), (absent, libc::ENOSYS)]
        .into_iter()
        .map(|(rules, errno)| {
            let architecture = std::env::consts::ARCH
                .try_into()
                .during(|| "naming this machine's architecture")?;
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Allow,
                SeccompAction::Errno(errno as u32),
                architecture,
            )
            .during(|| "building the system call filter")?;
            BpfProgram::try_from(filter).during(|| "compiling the system call filter")
        })
        .collect()
}

/// Puts the filters over this process and its children, for good. Needs `no_new_privs`.
pub fn apply(filters: &[BpfProgram]) -> Result<(), Failure> {
    filters.iter().try_for_each(|filter| {
        seccompiler::apply_filter(filter).during(|| "applying the system call filter")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_on_this_architecture() {
        assert_eq!(compile().expect("compiles").len(), 2);
    }
}
