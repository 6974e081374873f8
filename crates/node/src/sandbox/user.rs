//! Who a container's process is, by the image's own passwd and group files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::shim::User;

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Further groups inside.
    pub groups: Vec<u32>,
    /// Home folder by the passwd file.
    pub home: Option<String>,
}

/// Resolves `user` by the files of the root this process is in. A missing file is an empty one.
pub fn resolve(user: &User) -> Result<Identity, Failure> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    resolve_in(user, &read("/etc/passwd"), &read("/etc/group"))
}

fn resolve_in(user: &User, passwd: &str, group: &str) -> Result<Identity, Failure> {
    match user {
        User::Ids { uid, gid, groups } => {
            let known = passwd_entry(passwd, |entry| entry.uid == *uid);
            Ok(Identity {
                uid: *uid,
                gid: gid.or(known.as_ref().map(|entry| entry.gid)).unwrap_or(0),
                groups: groups.clone(),
                home: known.map(|entry| entry.home),
            })
        }
        User::Named(text) => {
            let (user_part, group_part) = match text.split_once(':') {
                Some((user, group)) => (user, Some(group)),
                None => (text.as_str(), None),
            };
            let known = match user_part.parse::<u32>() {
                Ok(uid) => passwd_entry(passwd, |entry| entry.uid == uid).or_else(|| {
                    Some(Entry {
                        name: String::new(),
                        uid,
                        gid: 0,
                        home: "/".to_owned(),
                    })
                }),
                Err(_) if user_part.is_empty() => {
                    passwd_entry(passwd, |entry| entry.uid == 0).or(Some(Entry::root()))
                }
                Err(_) => passwd_entry(passwd, |entry| entry.name == user_part),
            };
            let entry = known.ok_or_else(|| {
                Failure(format!("the image's /etc/passwd has no user {user_part}"))
            })?;
            let gid = match group_part {
                None => entry.gid,
                Some(name) => match name.parse() {
                    Ok(gid) => gid,
                    Err(_) => group_id(group, name).ok_or_else(|| {
                        Failure(format!("the image's /etc/group has no group {name}"))
                    })?,
                },
            };
            let groups = if group_part.is_some() {
                Vec::new()
            } else {
                groups_of(group, &entry.name)
            };
            Ok(Identity {
                uid: entry.uid,
                gid,
                groups,
                home: Some(entry.home),
            })
        }
    }
}

struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Entry {
    fn root() -> Self {
        Self {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            home: "/root".to_owned(),
        }
    }
}

fn passwd_entry(passwd: &str, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let entry = Entry {
            name: (*fields.first()?).to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
            home: fields
                .get(5)
                .filter(|home| !home.is_empty())
                .map_or("/", |home| home)
                .to_owned(),
        };
        wanted(&entry).then_some(entry)
    })
}

fn group_id(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name)
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

fn groups_of(group: &str, user: &str) -> Vec<u32> {
    group
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == user);
            is_member.then(|| fields[2].parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/bash\nbad line\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\ndocker:x:999:jovyan,other\n";

    fn named(text: &str) -> Result<Identity, Failure> {
        resolve_in(&User::Named(text.to_owned()), PASSWD, GROUP)
    }

    #[test]
    fn a_name_brings_its_group_home_and_memberships() {
        let user = named("jovyan").expect("known");
        assert_eq!(
            (user.uid, user.gid, user.groups, user.home.as_deref()),
            (1000, 100, vec![999], Some("/home/jovyan"))
        );
    }

    #[test]
    fn a_group_given_beside_the_name_wins() {
        let user = named("jovyan:docker").expect("known");
        assert_eq!((user.uid, user.gid, user.groups), (1000, 999, vec![]));
    }

    #[test]
    fn numbers_need_no_entry() {
        let user = named("4242:77").expect("numbers");
        assert_eq!((user.uid, user.gid), (4242, 77));
        let user = resolve_in(
            &User::Ids {
                uid: 1000,
                gid: None,
                groups: vec![5],
            },
            PASSWD,
            GROUP,
        )
        .expect("numbers");
        assert_eq!(
            (user.gid, user.groups, user.home.as_deref()),
            (100, vec![5], Some("/home/jovyan"))
        );
    }

    #[test]
    fn an_unknown_name_is_refused_in_words() {
        assert!(
            named("nobody-here")
                .expect_err("unknown")
                .0
                .contains("nobody-here")
        );
        assert!(
            named("root:nogroup")
                .expect_err("unknown")
                .0
                .contains("nogroup")
        );
    }

    #[test]
    fn an_empty_user_is_root() {
        assert_eq!(named("").expect("root").uid, 0);
    }
}
