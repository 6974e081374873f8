//! Which user and group ids the node's namespace has. An ordinary user can map one id; root maps a high range and
//! never its own `0 0`, because a pod's root would then own the host's files.

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
/// inside number to 0, with a range it maps `0 0 65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: IdRange,
    /// Groups.
    pub gids: IdRange,
}
