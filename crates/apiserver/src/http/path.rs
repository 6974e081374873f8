//! What a request path names. The API's paths are dynamic (groups and resources come and go), so one function reads
//! them all.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The object of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Something below `/api/v1` or `/apis/{group}/{version}`.
    Resource(ResourcePath),
    /// Discovery, health, version, schemas, metrics.
    Other(String),
}

/// The parts of a resource path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// API group, empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Plural of the resource.
    pub resource: String,
    /// Name of one object, or empty.
    pub name: String,
    /// What hangs below the object, or empty.
    pub subresource: String,
    /// What follows the subresource (`proxy/…`), undecoded, with its leading slash when there is one.
    pub rest: String,
    /// Whether the old `/watch/` form was used.
    pub is_old_watch: bool,
}

/// Reads a path.
pub fn parse(path: &str) -> Target {
    let other = || Target::Other(path.to_owned());
    let mut at = Segments { rest: path };
    let (group, version) = match at.next() {
        Some("api") => match at.next() {
            Some(version) => (String::new(), version),
            None => return other(),
        },
        Some("apis") => match (at.next(), at.next()) {
            (Some(group), Some(version)) => (decode(group), version),
            _ => return other(),
        },
        _ => return other(),
    };
    let mut found = ResourcePath {
        group,
        version: decode(version),
        ..Default::default()
    };
    let Some(mut segment) = at.next() else {
        return other();
    };
    if segment == "watch" {
        found.is_old_watch = true;
        match at.next() {
            Some(next) => segment = next,
            None => return other(),
        }
    }
    if segment == "namespaces" {
        let Some(namespace) = at.next() else {
            found.resource = "namespaces".into();
            return Target::Resource(found);
        };
        let namespace = decode(namespace);
        match at.next() {
            // `/namespaces/x`, `/namespaces/x/status` and `/namespaces/x/finalize` are about the namespace itself.
            None => {
                found.resource = "namespaces".into();
                found.name = namespace.clone();
                found.namespace = namespace;
                return Target::Resource(found);
            }
            Some(own @ ("status" | "finalize")) => {
                found.resource = "namespaces".into();
                found.name = namespace.clone();
                found.namespace = namespace;
                found.subresource = own.into();
                return Target::Resource(found);
            }
            Some(resource) => {
                found.namespace = namespace;
                segment = resource;
            }
        }
    }
    found.resource = decode(segment);
    if let Some(name) = at.next() {
        found.name = decode(name);
    }
    if let Some(subresource) = at.next() {
        found.subresource = decode(subresource);
        found.rest = at.rest.to_owned();
    }
    Target::Resource(found)
}

struct Segments<'a> {
    rest: &'a str,
}

impl<'a> Segments<'a> {
    fn next(&mut self) -> Option<&'a str> {
        // Clients that join a server's address with a path double the slash.
        let trimmed = self.rest.trim_start_matches('/');
        if trimmed.is_empty() {
            return None;
        }
        let end = trimmed.find('/').unwrap_or(trimmed.len());
        self.rest = &trimmed[end..];
        Some(&trimmed[..end])
    }
}

/// What may stand in a path segment or query value as it is (RFC 3986 §2.3).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Decodes `%xx`; what is not a valid escape or not UTF-8 stays as it is.
pub fn decode(text: &str) -> String {
    percent_decode_str(text)
        .decode_utf8()
        .map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}

/// Encodes what may not stand in a query value or path segment.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match parse(path) {
            Target::Resource(found) => found,
            Target::Other(_) => panic!("{path} names no resource"),
        }
    }

    #[test]
    fn an_object_in_a_namespace() {
        let found = resource("/apis/apps/v1/namespaces/a/deployments/web/scale");
        assert_eq!(
            (found.group.as_str(), found.version.as_str()),
            ("apps", "v1")
        );
        assert_eq!(
            (found.namespace.as_str(), found.resource.as_str()),
            ("a", "deployments")
        );
        assert_eq!(
            (found.name.as_str(), found.subresource.as_str()),
            ("web", "scale")
        );
    }

    #[test]
    fn a_namespace_is_both_the_object_and_its_namespace() {
        let found = resource("/api/v1/namespaces/a/finalize");
        assert_eq!(
            (found.resource.as_str(), found.name.as_str()),
            ("namespaces", "a")
        );
        assert_eq!(found.subresource, "finalize");
        assert_eq!(resource("/api/v1/namespaces/a/pods").resource, "pods");
    }

    #[test]
    fn a_proxied_path_is_kept_as_it_was_written() {
        let found = resource("/api/v1/namespaces/a/services/http:web:80/proxy/x%2Fy/");
        assert_eq!(
            (found.name.as_str(), found.rest.as_str()),
            ("http:web:80", "/x%2Fy/")
        );
    }

    #[test]
    fn discovery_is_no_resource() {
        for path in [
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/version",
            "/openapi/v3/apis/apps/v1",
        ] {
            assert_eq!(parse(path), Target::Other(path.into()));
        }
    }
}
