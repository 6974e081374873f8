//! One policy rule: what it matches, and whether a set of rules covers it.
//! Mirrors Kubernetes v1.33 `pkg/apis/rbac/v1/evaluation_helpers.go` and `validation/policy_comparator.go`.

use serde_json::{Map, Value, json};

use super::Attributes;

const ALL: &str = "*";

/// Permission to do `verbs` to resources or to paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Verbs, or `*`.
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    pub groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource`, or `*`.
    pub resources: Vec<String>,
    /// Names of objects; empty for all.
    pub names: Vec<String>,
    /// Paths, also with a trailing `*`.
    pub paths: Vec<String>,
}

impl Rule {
    /// Reads a `PolicyRule`; what is not as it should be matches nothing.
    pub fn from_json(rule: &Value) -> Self {
        let texts = |key: &str| -> Vec<String> {
            let list = rule[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter()
                .filter_map(|text| text.as_str().map(ToOwned::to_owned))
                .collect()
        };
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub fn all_of(role: &Value) -> Vec<Self> {
        let rules = role["rules"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        rules.iter().map(Self::from_json).collect()
    }

    /// The `PolicyRule` again; empty lists are left out, as clients leave them out.
    pub fn to_json(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("verbs".into(), json!(self.verbs));
        for (key, list) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ] {
            if !list.is_empty() {
                rule.insert(key.into(), json!(list));
            }
        }
        Value::Object(rule)
    }

    /// Every verb on every resource.
    pub fn everything() -> Self {
        let all = || vec![ALL.to_owned()];
        Self {
            verbs: all(),
            groups: all(),
            resources: all(),
            ..Self::default()
        }
    }

    /// Every verb on every path.
    pub fn every_path() -> Self {
        Self {
            verbs: vec![ALL.to_owned()],
            paths: vec![ALL.to_owned()],
            ..Self::default()
        }
    }

    /// Whether the rule allows this.
    pub fn matches(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if attributes.resource.is_empty() {
            return self
                .paths
                .iter()
                .any(|path| path_matches(path, attributes.path));
        }
        has(&self.groups, attributes.group)
            && self.matches_resource(attributes.resource, attributes.subresource)
            && (self.names.is_empty() || self.names.iter().any(|name| name == attributes.name))
    }

    fn matches_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| {
            if rule == ALL {
                return true;
            }
            match rule.split_once('/') {
                None => subresource.is_empty() && rule == resource,
                Some((of, sub)) => {
                    !subresource.is_empty() && sub == subresource && (of == ALL || of == resource)
                }
            }
        })
    }

    /// The smallest rules this one is made of: one verb on one resource of one group with at most one name.
    pub fn atoms(&self) -> Vec<Self> {
        let mut atoms = Vec::new();
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            for group in &self.groups {
                for resource in &self.resources {
                    let atom = Self {
                        verbs: verbs.clone(),
                        groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.names.is_empty() {
                        atoms.push(atom);
                    } else {
                        atoms.extend(self.names.iter().map(|name| Self {
                            names: vec![name.clone()],
                            ..atom.clone()
                        }));
                    }
                }
            }
            atoms.extend(self.paths.iter().map(|path| Self {
                verbs: verbs.clone(),
                paths: vec![path.clone()],
                ..Self::default()
            }));
        }
        atoms
    }

    /// Whether this rule alone allows all that `atom` allows.
    fn covers(&self, atom: &Self) -> bool {
        let all_in = |own: &[String], asked: &[String]| asked.iter().all(|one| has(own, one));
        if !all_in(&self.verbs, &atom.verbs) {
            return false;
        }
        if !atom.paths.is_empty() {
            let is_covered = |asked: &String| self.paths.iter().any(|own| path_matches(own, asked));
            return atom.paths.iter().all(is_covered);
        }
        all_in(&self.groups, &atom.groups)
            && atom
                .resources
                .iter()
                .all(|asked| self.covers_resource(asked))
            && (self.names.is_empty()
                || (!atom.names.is_empty()
                    && atom.names.iter().all(|name| self.names.contains(name))))
    }

    fn covers_resource(&self, asked: &str) -> bool {
        self.resources.iter().any(|own| {
            own == ALL
                || own == asked
                || match (own.split_once('/'), asked.split_once('/')) {
                    (Some((ALL, own_sub)), Some((_, asked_sub))) => own_sub == asked_sub,
                    _ => false,
                }
        })
    }
}

/// The atoms of `asked` that `owned` does not cover.
pub fn uncovered(owned: &[Rule], asked: &[Rule]) -> Vec<Rule> {
    asked
        .iter()
        .flat_map(Rule::atoms)
        .filter(|atom| !owned.iter().any(|own| own.covers(atom)))
        .collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == ALL || one == wanted)
}

fn path_matches(rule: &str, path: &str) -> bool {
    rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: Value) -> Rule {
        Rule::from_json(&json)
    }

    fn pods<'a>(verb: &'a str, subresource: &'a str, name: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            resource: "pods",
            subresource,
            name,
            ..Attributes::default()
        }
    }

    #[test]
    fn a_resource_does_not_include_its_subresources() {
        let rule = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        assert!(rule.matches(&pods("get", "", "a")));
        assert!(!rule.matches(&pods("get", "log", "a")));
        assert!(!rule.matches(&pods("list", "", "")));
    }

    #[test]
    fn a_star_resource_includes_subresources_and_a_star_before_a_slash_any_resource() {
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(all.matches(&pods("get", "log", "a")));
        let logs = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]}));
        assert!(logs.matches(&pods("get", "log", "a")));
        assert!(!logs.matches(&pods("get", "exec", "a")));
        assert!(!logs.matches(&pods("get", "", "a")));
    }

    #[test]
    fn a_rule_with_names_allows_only_those_objects() {
        let rule = rule(
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
        );
        assert!(rule.matches(&pods("get", "", "a")));
        assert!(!rule.matches(&pods("get", "", "b")));
        assert!(!rule.matches(&pods("list", "", "")));
    }

    #[test]
    fn the_core_group_is_not_any_group() {
        let rule = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        let elsewhere = Attributes {
            group: "metrics.k8s.io",
            ..pods("get", "", "a")
        };
        assert!(!rule.matches(&elsewhere));
    }

    #[test]
    fn a_path_with_a_trailing_star_matches_by_prefix() {
        let rule = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        let path = |path| Attributes {
            verb: "get",
            path,
            ..Attributes::default()
        };
        assert!(rule.matches(&path("/healthz")));
        assert!(rule.matches(&path("/apis/apps/v1")));
        assert!(!rule.matches(&path("/healthz/etcd")));
        assert!(!rule.matches(&path("/api")));
    }

    #[test]
    fn what_is_covered_in_pieces_by_several_rules_is_covered() {
        let owned = [
            rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]})),
            rule(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["*/log"]})),
        ];
        let asked = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}),
        )];
        assert_eq!(uncovered(&owned, &asked), []);
    }

    #[test]
    fn permission_on_one_name_does_not_cover_permission_on_all() {
        let owned = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}),
        )];
        let all = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}),
        )];
        assert_eq!(uncovered(&owned, &all).len(), 1);
        assert_eq!(uncovered(&owned, &owned), []);
    }

    #[test]
    fn a_star_is_covered_only_by_a_star() {
        let owned = [rule(
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}),
        )];
        let asked = [rule(
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}),
        )];
        assert_eq!(uncovered(&owned, &asked).len(), 1);
    }
}
