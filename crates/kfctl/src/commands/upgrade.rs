//! Which version an installation may be brought to: each kfctl carries one, its own.

use anyhow::{Result, bail};
use semver::Version;

/// What this kfctl installs.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Refuses a wish for a version that this kfctl does not carry.
pub fn is_ours(wanted: &str) -> Result<()> {
    let wanted = wanted.trim_start_matches('v');
    if wanted == OURS {
        return Ok(());
    }
    bail!("this kfctl installs version {OURS}; for {wanted} take the kfctl of that version");
}

/// What is about to happen to an installation of the version `before`, where it is another one. Going back from a newer
/// one has to be `asked` for: what it stored may be more than the older one understands.
pub fn from(before: &str, asked: bool) -> Result<Option<String>> {
    if before == OURS {
        return Ok(None);
    }
    let (Ok(old), Ok(ours)) = (Version::parse(before), Version::parse(OURS)) else {
        return Ok(Some(format!("upgrade  {before} to {OURS}")));
    };
    if old < ours {
        return Ok(Some(format!("upgrade  {before} to {OURS}")));
    }
    if asked {
        return Ok(Some(format!("downgrade  {before} to {OURS}")));
    }
    bail!(
        "nothing was changed: version {before} is installed, and this kfctl is {OURS}; take kfctl {before}, or go back all the same with --version {OURS}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_installation_is_upgraded_and_the_same_one_needs_no_word() {
        assert_eq!(from(OURS, false).expect("the same"), None);
        let note = from("0.0.9", false).expect("older").expect("a note");
        assert_eq!(note, format!("upgrade  0.0.9 to {OURS}"));
    }

    #[test]
    fn going_back_has_to_be_asked_for() {
        let refused = from("99.0.0", false).expect_err("newer").to_string();
        assert!(refused.contains(&format!("--version {OURS}")), "{refused}");
        assert!(from("99.0.0", true).expect("asked for").is_some());
    }

    #[test]
    fn only_the_version_that_is_carried_may_be_wished_for() {
        is_ours(OURS).expect("ours");
        is_ours(&format!("v{OURS}")).expect("ours, as tags write it");
        let refused = is_ours("0.0.9").expect_err("another").to_string();
        assert!(
            refused.contains("take the kfctl of that version"),
            "{refused}"
        );
    }
}
