//! Which ids exist in a pod. An ordinary user owns one id, so a pod has one, called what the container asks for; root
//! gives a pod a range of high ids. The host's id 0 is never among them.

use std::fmt;
use std::fs;

use super::failure::{Failure, While};
use crate::shim::HostIds;

/// The ids of a pod's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodIds {
    /// One id, 0, which is the owner.
    Single,
    /// Ids 0 to `count`, exclusive.
    Range {
        /// How many.
        count: u32,
    },
}

/// One line of a `uid_map`: `count` ids from `inside` stand for those from `outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// First id inside.
    pub inside: u32,
    /// First id as the writer's namespace sees it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// The lines of a `uid_map` file.
pub fn parse(map: &str) -> Vec<Line> {
    map.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            Some(Line {
                inside: numbers.next()?.ok()?,
                outside: numbers.next()?.ok()?,
                count: numbers.next()?.ok()?,
            })
        })
        .collect()
}

/// The host ids `wanted`, as a namespace with the map `node` numbers them.
pub fn translate(wanted: HostIds, node: &[Line]) -> Result<Line, Failure> {
    if wanted.first == 0 || wanted.count == 0 {
        return Err(Failure(format!(
            "a pod's ids {}+{} would contain the host's root",
            wanted.first, wanted.count
        )));
    }
    let holds = |line: &&Line| {
        line.outside <= wanted.first
            && u64::from(wanted.first) + u64::from(wanted.count)
                <= u64::from(line.outside) + u64::from(line.count)
    };
    let line = node.iter().find(holds).ok_or_else(|| {
        Failure(format!(
            "the node's user namespace has no ids {} to {}",
            wanted.first,
            u64::from(wanted.first) + u64::from(wanted.count)
        ))
    })?;
    Ok(Line {
        inside: 0,
        outside: line.inside + (wanted.first - line.outside),
        count: wanted.count,
    })
}

/// Writes the maps of process `pid`, as its parent namespace's numbers.
pub fn write(pid: &str, uids: Line, gids: Line) -> Result<(), Failure> {
    if gids.count == 1 {
        // Without rights over the parent, one group can be mapped only when nobody can drop groups.
        fs::write(format!("/proc/{pid}/setgroups"), "deny").during(|| "forbidding setgroups")?;
    }
    fs::write(format!("/proc/{pid}/gid_map"), gids.to_string())
        .during(|| format!("mapping groups {gids}"))?;
    fs::write(format!("/proc/{pid}/uid_map"), uids.to_string())
        .during(|| format!("mapping users {uids}"))
}

impl PodIds {
    /// The maps of a container's own namespace below the pod's.
    pub fn inner(self, uid: u32, gid: u32) -> Result<(Line, Line), Failure> {
        match self {
            Self::Single => Ok((
                Line {
                    inside: uid,
                    outside: 0,
                    count: 1,
                },
                Line {
                    inside: gid,
                    outside: 0,
                    count: 1,
                },
            )),
            Self::Range { count } if uid < count && gid < count => {
                let all = Line {
                    inside: 0,
                    outside: 0,
                    count,
                };
                Ok((all, all))
            }
            Self::Range { count } => Err(Failure(format!(
                "user {uid} and group {gid} must be below {count}, the number of ids a pod has on this node"
            ))),
        }
    }

    /// Whether ids other than the container's own exist.
    pub fn is_range(self) -> bool {
        matches!(self, Self::Range { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_are_numbered_as_the_node_sees_them() {
        let node = parse("         0     100000      65536\n");
        let wanted = HostIds {
            first: 100_000,
            count: 65_536,
        };
        assert_eq!(
            translate(wanted, &node).expect("held"),
            Line {
                inside: 0,
                outside: 0,
                count: 65_536
            }
        );
        let identity = parse("0 0 4294967295");
        assert_eq!(
            translate(wanted, &identity).expect("held"),
            Line {
                inside: 0,
                outside: 100_000,
                count: 65_536
            }
        );
    }

    #[test]
    fn ids_the_node_lacks_and_the_hosts_root_are_refused() {
        let node = parse("0 100000 65536");
        translate(
            HostIds {
                first: 200_000,
                count: 65_536,
            },
            &node,
        )
        .expect_err("not held");
        translate(HostIds { first: 0, count: 1 }, &parse("0 0 4294967295"))
            .expect_err("the host's root");
    }

    #[test]
    fn with_one_id_it_is_called_what_the_container_asks_for() {
        let (uids, gids) = PodIds::Single.inner(1000, 100).expect("possible");
        assert_eq!(
            (uids.to_string(), gids.to_string()),
            ("1000 0 1\n".to_owned(), "100 0 1\n".to_owned())
        );
    }

    #[test]
    fn an_id_beyond_the_range_is_refused_in_words() {
        let refused = PodIds::Range { count: 65_536 }
            .inner(70_000, 0)
            .expect_err("too high");
        assert!(refused.0.contains("70000"), "{refused}");
    }
}
