//! Landlock: a container may touch only what it reaches through its own root. Links of `/proc` that lead to files of the
//! host (the program that set the container up, a descriptor that leaked) open nothing.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus,
};

use super::failure::{Failure, While};

/// The newest rules this program knows; an older kernel applies those it has.
const RULES: ABI = ABI::V5;
/// Before this version no file can be moved between folders at all, which pods cannot live with.
const OLDEST_USABLE: i64 = 2;

/// Confines this process and its children to the root it is in. `false` where the kernel has no usable Landlock.
pub fn to_root() -> Result<bool, Failure> {
    let step = || "confining the container to its root by Landlock";
    if version() < OLDEST_USABLE {
        return Ok(false);
    }
    let everything = AccessFs::from_all(RULES);
    let root = PathFd::new("/").during(step)?;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)
        .during(step)?;
    let ruleset = ruleset
        .create()
        .during(step)?
        .add_rule(PathBeneath::new(root, everything))
        .during(step)?;
    Ok(ruleset.restrict_self().during(step)?.ruleset != RulesetStatus::NotEnforced)
}

/// The kernel's Landlock version; 0 or less without it.
pub fn version() -> i64 {
    const ASK_VERSION: libc::c_uint = 1;
    // SAFETY: asks for a number; nothing is read or written.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            ASK_VERSION,
        )
    }
}
