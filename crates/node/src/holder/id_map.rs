//! Which user and group ids the node's namespace has. An ordinary user can map one id; root maps a high range and
//! never its own `0 0`, because a pod's root would then own the host's files. Pure.

/// Root's range starts here where all ids are at hand: above what distributions give to people, services and the
/// subordinate ranges of rootless containers, inside what systemd keeps for containers.
const ROOT_FIRST: u32 = 0x5f00_0000;
/// How many ids a pod of root's has.
const ROOT_COUNT: u32 = 65_536;

/// One line of a `uid_map`: `count` ids from `inside` stand for those from `outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdRange {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id as the server's own namespace sees it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl std::fmt::Display for IdRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// The ids of the node's user namespace. A pod's namespace is its child: with `uids.count == 1` a pod maps any one
/// inside number to 0 of this namespace, with a range it maps `0 0 65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: IdRange,
    /// Groups.
    pub gids: IdRange,
}

/// What is known about the process that will write the maps.
#[derive(Clone, Debug)]
pub(crate) struct Owner<'a> {
    pub uid: u32,
    pub gid: u32,
    /// Its own `/proc/self/uid_map`.
    pub uid_map: &'a str,
    /// Its own `/proc/self/gid_map`.
    pub gid_map: &'a str,
}

/// The maps for this owner; `None` if it is the machine's root in a namespace with no id but root's own.
pub(crate) fn choose(owner: &Owner<'_>) -> Option<IdMap> {
    let only = |id| IdRange {
        inside: 0,
        outside: id,
        count: 1,
    };
    let is_ordinary = owner.uid != 0 || is_root_in_name_only(owner.uid_map);
    if is_ordinary {
        return Some(IdMap {
            uids: only(owner.uid),
            gids: only(owner.gid),
        });
    }
    Some(IdMap {
        uids: range_for_root(owner.uid_map)?,
        gids: range_for_root(owner.gid_map)?,
    })
}

/// Whether the only id there is is an ordinary user's that is called 0 here.
fn is_root_in_name_only(own_map: &str) -> bool {
    let mut words = own_map.split_whitespace();
    let (inside, outside, count) = (words.next(), words.next(), words.next());
    (inside, count) == (Some("0"), Some("1")) && outside != Some("0") && words.next().is_none()
}

/// A range of ids this process may map, without the first 1,000 where people and services live: the usual one if it
/// is there, else the upper end of the largest that is.
fn range_for_root(own_map: &str) -> Option<IdRange> {
    const OTHERS: u32 = 1_000;
    let extents: Vec<(u32, u32)> = own_map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            let first = numbers.next()?.ok()?;
            let count = numbers.nth(1)?.ok()?;
            Some((first, count))
        })
        .collect();
    let holds = |first: u32, count: u32, from: u32, n: u32| {
        from >= first && u64::from(from) + u64::from(n) <= u64::from(first) + u64::from(count)
    };
    if extents
        .iter()
        .any(|(first, count)| holds(*first, *count, ROOT_FIRST, ROOT_COUNT))
    {
        return Some(IdRange {
            inside: 0,
            outside: ROOT_FIRST,
            count: ROOT_COUNT,
        });
    }
    let (first, count) = extents.into_iter().max_by_key(|(_, count)| *count)?;
    let spare = count.saturating_sub(OTHERS.saturating_sub(first));
    let taken = spare.min(ROOT_COUNT);
    (taken > 0).then(|| IdRange {
        inside: 0,
        outside: first + (count - taken),
        count: taken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "         0          0 4294967295\n";

    fn root(map: &str) -> Option<IdMap> {
        choose(&Owner {
            uid: 0,
            gid: 0,
            uid_map: map,
            gid_map: map,
        })
    }

    #[test]
    fn an_ordinary_user_maps_itself_alone() {
        let owner = Owner {
            uid: 1000,
            gid: 100,
            uid_map: ALL,
            gid_map: ALL,
        };
        let map = choose(&owner).expect("always possible");
        assert_eq!(
            (map.uids.to_string(), map.gids.to_string()),
            ("0 1000 1".into(), "0 100 1".into())
        );
    }

    #[test]
    fn root_maps_a_high_range_and_never_itself() {
        let map = root(ALL).expect("all ids are there");
        assert_eq!(
            map.uids,
            IdRange {
                inside: 0,
                outside: 0x5f00_0000,
                count: 65_536
            }
        );
    }

    #[test]
    fn root_of_a_small_namespace_maps_its_upper_ids() {
        let map = root("0 1000 1\n1 100000 65536\n").expect("65,536 ids");
        assert_eq!(
            map.uids,
            IdRange {
                inside: 0,
                outside: 1_000,
                count: 64_537
            }
        );
        assert!(map.uids.outside > 0);
    }

    #[test]
    fn root_with_a_single_id_has_none_to_give() {
        assert_eq!(root("0 0 1\n"), None);
        assert_eq!(root(""), None);
    }

    #[test]
    fn an_ordinary_user_who_is_called_root_maps_itself_alone() {
        let map = root("         0       1000          1\n").expect("always possible");
        assert_eq!(map.uids.to_string(), "0 0 1");
    }
}
