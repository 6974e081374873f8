//! Sets of paths, as tries: which fields a manager owns.
//! A path may be a member by itself, have members below it, or both.

use std::collections::{BTreeMap, BTreeSet};

use super::path::{Path, PathElement};

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) members: BTreeSet<PathElement>,
    /// Never holds an empty set.
    pub(super) children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// A set of paths, each given by its field names.
    pub fn of_fields<'a, P: IntoIterator<Item = &'a str>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&Path::of_fields(path).0);
        }
        set
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether this very path is a member.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self
                .children
                .get(first)
                .is_some_and(|child| child.has(rest)),
        }
    }

    /// Everything in either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    /// Adds everything in the other set.
    pub fn extend(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children
                .entry(element.clone())
                .or_default()
                .extend(child);
        }
    }

    /// What is in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs)
    }

    /// What is in this set and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self.children.iter().map(|(element, child)| {
            let rest = match other.children.get(element) {
                Some(theirs) => child.difference(theirs),
                None => child.clone(),
            };
            (element.clone(), rest)
        });
        Self {
            members,
            children: children.filter(|(_, child)| !child.is_empty()).collect(),
        }
    }

    /// Takes out everything that is in the other set.
    pub fn subtract(&mut self, other: &Self) {
        for element in &other.members {
            self.members.remove(element);
        }
        for (element, theirs) in &other.children {
            if let Some(child) = self.children.get_mut(element) {
                child.subtract(theirs);
                if child.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// What is in this set and neither in the other nor below one of its members.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self
            .children
            .iter()
            .filter(|(element, _)| !other.members.contains(element))
            .map(|(element, child)| {
                let rest = match other.children.get(element) {
                    Some(theirs) => child.recursive_difference(theirs),
                    None => child.clone(),
                };
                (element.clone(), rest)
            });
        Self {
            members,
            children: children.filter(|(_, child)| !child.is_empty()).collect(),
        }
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let members = self
            .members
            .iter()
            .filter(|element| keep(true, other.members.contains(element)))
            .cloned()
            .collect();
        let children = self.children.iter().filter_map(|(element, child)| {
            let both = child.combine(other.children.get(element)?, keep);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        let children = children.collect();
        Self { members, children }
    }

    /// The part of this set that other keeps or that lies below one of other's members: for limiting to some fields.
    pub fn within(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, child)| {
            let kept = if other.members.contains(element) {
                child.clone()
            } else {
                child.within(other.children.get(element)?)
            };
            (!kept.is_empty()).then(|| (element.clone(), kept))
        });
        let children = children.collect();
        Self { members, children }
    }

    /// The members below one element.
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    /// Every member, in order.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Path>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            out.push(Path(path));
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, out);
            prefix.pop();
        }
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.0);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(paths: &[&str]) -> FieldSet {
        FieldSet::of_fields(paths.iter().map(|path| path.split('.')))
    }

    #[test]
    fn set_algebra_works_on_members_and_on_what_is_below_them() {
        let a = set(&["a", "a.b", "c.d", "e"]);
        let b = set(&["a", "c.d", "c.x"]);
        assert_eq!(a.union(&b), set(&["a", "a.b", "c.d", "c.x", "e"]));
        assert_eq!(a.intersection(&b), set(&["a", "c.d"]));
        assert_eq!(a.difference(&b), set(&["a.b", "e"]));
        assert_eq!(a.recursive_difference(&b), set(&["e"]));
        assert_eq!(a.within(&set(&["a", "c"])), set(&["a", "a.b", "c.d"]));
        assert!(a.has(&Path::of_fields(["c", "d"]).0) && !a.has(&Path::of_fields(["c"]).0));
    }

    fn any_set() -> impl Strategy<Value = FieldSet> {
        prop::collection::vec(prop::collection::vec("[a-c]", 1..4), 0..8).prop_map(|paths| {
            FieldSet::of_fields(paths.iter().map(|path| path.iter().map(String::as_str)))
        })
    }

    proptest! {
        #[test]
        fn the_algebra_keeps_its_laws(a in any_set(), b in any_set()) {
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert!(a.difference(&a).is_empty());
            let mut rest = a.clone();
            rest.subtract(&b);
            prop_assert_eq!(rest, a.difference(&b));
            prop_assert_eq!(a.paths().into_iter().collect::<FieldSet>(), a);
        }
    }
}
