//! Acting as somebody else: the `Impersonate-*` headers, and what the real user must be allowed for them.
//! Mirrors Kubernetes v1.33 `apiserver/pkg/endpoints/filters/impersonation.go`.

use std::collections::BTreeMap;

use http::HeaderMap;
use objects::Status;

use super::{ALL_AUTHENTICATED, User, is_reserved};
use crate::authz::{Attributes, Authorizer};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The user a request acts as: `user` itself, or whom its headers name if `user` may act as them.
pub fn resolve(user: User, headers: &HeaderMap, authorizer: &Authorizer) -> Result<User, Status> {
    let Some(wanted) = requested(headers)? else {
        return Ok(user);
    };
    for name in std::iter::once(&wanted.name).chain(&wanted.groups) {
        if is_reserved(name) {
            return Err(Status::forbidden(
                "",
                "users",
                name,
                "this identity belongs to the platform itself and cannot be impersonated",
            ));
        }
    }
    for attributes in checks(&wanted) {
        authorizer.require(&user, &attributes)?;
    }
    Ok(complete(wanted))
}

/// Whether a request asks to act as somebody else.
pub fn is_requested(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| [USER, GROUP, UID].contains(&name.as_str()) || name.as_str().starts_with(EXTRA))
}

/// The user named by the headers, as named: nothing checked, nothing added.
fn requested(headers: &HeaderMap) -> Result<Option<User>, Status> {
    if !is_requested(headers) {
        return Ok(None);
    }
    let text = |value: &http::HeaderValue| {
        value
            .to_str()
            .map(ToOwned::to_owned)
            .map_err(|_| Status::bad_request("an impersonation header is not plain text"))
    };
    let first = |name: &str| headers.get(name).map(text).transpose();
    let Some(name) = first(USER)?.filter(|name| !name.is_empty()) else {
        return Err(Status::bad_request(
            "requested groups, uid or extra without impersonating a user: add the header Impersonate-User",
        ));
    };
    let groups = headers
        .get_all(GROUP)
        .iter()
        .map(text)
        .collect::<Result<_, _>>()?;
    // Extra keys may hold any byte, written as `%2F`.
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix(EXTRA) {
            extra
                .entry(crate::http::path::decode(key))
                .or_default()
                .push(text(value)?);
        }
    }
    Ok(Some(User {
        name,
        uid: first(UID)?.unwrap_or_default(),
        groups,
        extra,
    }))
}

/// One permission per thing impersonated.
fn checks(wanted: &User) -> Vec<Attributes<'_>> {
    let mut checks = vec![match wanted.as_service_account() {
        Some((namespace, name)) => Attributes {
            namespace,
            ..impersonate("", "serviceaccounts", "", name)
        },
        None => impersonate("", "users", "", &wanted.name),
    }];
    checks.extend(
        wanted
            .groups
            .iter()
            .map(|group| impersonate("", "groups", "", group)),
    );
    if !wanted.uid.is_empty() {
        checks.push(impersonate(
            "authentication.k8s.io",
            "uids",
            "",
            &wanted.uid,
        ));
    }
    for (key, values) in &wanted.extra {
        checks.extend(
            values
                .iter()
                .map(|value| impersonate("authentication.k8s.io", "userextras", key, value)),
        );
    }
    checks
}

fn impersonate<'a>(
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    name: &'a str,
) -> Attributes<'a> {
    Attributes {
        verb: "impersonate",
        group,
        version: "v1",
        resource,
        subresource,
        name,
        ..Attributes::default()
    }
}

/// Adds the groups that the impersonated user would have had by signing in.
fn complete(mut wanted: User) -> User {
    if wanted.groups.is_empty()
        && let Some((namespace, name)) = wanted.as_service_account()
    {
        wanted.groups = User::service_account(namespace, name).groups;
    }
    let of_all = if wanted.name == ANONYMOUS {
        UNAUTHENTICATED
    } else {
        ALL_AUTHENTICATED
    };
    if !wanted.is_in(ALL_AUTHENTICATED) && !wanted.is_in(UNAUTHENTICATED) {
        wanted.groups.push(of_all.to_owned());
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Rbac;
    use crate::lookup::Fixed;
    use serde_json::json;
    use std::sync::Arc;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// Ann may act as the service account `builder` in `dev`, and as nobody else.
    fn authorizer() -> Authorizer {
        let role = json!({"metadata": {"name": "actor"}, "rules": [
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["builder"]},
        ]});
        let binding = json!({
            "metadata": {"name": "ann", "namespace": "dev"},
            "roleRef": {"kind": "ClusterRole", "name": "actor"}, "subjects": [{"kind": "User", "name": "ann"}],
        });
        let rbac = Rbac::rebuild([], [&binding], [&role], []);
        Authorizer::new(rbac, Arc::new(Fixed::default()))
    }

    #[test]
    fn without_the_headers_everybody_is_who_they_are() {
        let user = User::new("ann", &[]);
        assert_eq!(
            resolve(user.clone(), &HeaderMap::new(), &authorizer()).unwrap(),
            user
        );
    }

    #[test]
    fn whoever_may_acts_as_the_account_with_its_groups_and_nothing_of_their_own() {
        let wanted = headers(&[(USER, "system:serviceaccount:dev:builder")]);
        let user = resolve(User::new("ann", &["mine"]), &wanted, &authorizer()).unwrap();
        assert_eq!(user, User::service_account("dev", "builder"));
    }

    #[test]
    fn whoever_may_not_is_told_so() {
        let wanted = headers(&[(USER, "bob")]);
        let status = resolve(User::new("ann", &[]), &wanted, &authorizer()).unwrap_err();
        assert_eq!(
            status.message,
            r#"users "bob" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope"#
        );
    }

    #[test]
    fn each_group_and_extra_needs_a_permission_of_its_own() {
        for more in [
            (GROUP, "system:masters"),
            ("impersonate-extra-scopes", "all"),
            (UID, "1"),
        ] {
            let wanted = headers(&[(USER, "system:serviceaccount:dev:builder"), more]);
            assert!(
                resolve(User::new("ann", &[]), &wanted, &authorizer()).is_err(),
                "{more:?}"
            );
        }
    }

    #[test]
    fn the_owner_may_act_as_anybody_except_the_platform_itself() {
        let wanted = headers(&[
            (USER, "bob"),
            (GROUP, "devs"),
            ("impersonate-extra-a%2fb", "c"),
        ]);
        let user = resolve(User::admin(), &wanted, &authorizer()).unwrap();
        assert_eq!(user.groups, ["devs", "system:authenticated"]);
        assert_eq!(user.extra["a/b"], ["c"]);
        for wanted in [
            headers(&[(USER, crate::authn::INSTALLER)]),
            headers(&[(USER, "bob"), (GROUP, "system:ferroflow:any")]),
        ] {
            let status = resolve(User::admin(), &wanted, &authorizer()).unwrap_err();
            assert_eq!(status.code, 403);
        }
    }

    #[test]
    fn groups_without_a_user_are_refused() {
        let wanted = headers(&[(GROUP, "system:masters")]);
        assert!(resolve(User::admin(), &wanted, &authorizer()).is_err());
    }
}
