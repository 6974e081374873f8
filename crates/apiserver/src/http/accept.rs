//! Which form of an answer a client asked for. Unknown types are passed over; JSON is what is left.

use http::HeaderMap;

/// The shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The object itself.
    Object,
    /// A `Table`.
    Table,
    /// Metadata only.
    Partial,
    /// A list of metadata only.
    PartialList,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Shape of the body.
    pub shape: Shape,
    /// `v1` or `v1beta1` of `meta.k8s.io`, for shapes other than the object.
    pub version: &'static str,
    /// YAML in place of JSON.
    pub yaml: bool,
    /// Indented.
    pub pretty: bool,
}

impl Default for Accept {
    fn default() -> Self {
        Self {
            shape: Shape::Object,
            version: "v1",
            yaml: false,
            pretty: false,
        }
    }
}

/// One entry of an `Accept` header: media type and parameters.
#[derive(Clone, Debug)]
pub struct Clause<'a> {
    /// `application/json`.
    pub media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }
}

/// The entries of all `Accept` headers, in order.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters = parts.filter_map(|part| part.split_once('=')).collect();
            Clause { media, parameters }
        })
        .filter(|clause| !clause.media.is_empty())
        .collect()
}

impl Accept {
    /// Reads the header; none when nothing in it can be served.
    pub fn of(headers: &HeaderMap, pretty: bool) -> Option<Self> {
        let clauses = clauses(headers);
        if clauses.is_empty() {
            return Some(Self {
                pretty,
                ..Self::default()
            });
        }
        clauses.iter().find_map(|clause| {
            let yaml = match clause.media {
                "application/json" | "*/*" | "application/*" => false,
                "application/yaml" => true,
                _ => return None,
            };
            let version = match clause.parameter("v") {
                None | Some("v1") => "v1",
                Some("v1beta1") => "v1beta1",
                Some(_) => return None,
            };
            let shape = match (clause.parameter("as"), clause.parameter("g")) {
                (None, _) => Shape::Object,
                (Some("Table"), Some("meta.k8s.io")) => Shape::Table,
                (Some("PartialObjectMetadata"), Some("meta.k8s.io")) => Shape::Partial,
                (Some("PartialObjectMetadataList"), Some("meta.k8s.io")) => Shape::PartialList,
                _ => return None,
            };
            Some(Self {
                shape,
                version,
                yaml,
                pretty,
            })
        })
    }
}

/// Whether a client can read gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(http::header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().split(';').next() == Some("gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, value.parse().unwrap());
        Accept::of(&headers, false)
    }

    #[test]
    fn kubectl_get_asks_for_a_table_first() {
        let asked = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(asked).unwrap().shape, Shape::Table);
    }

    #[test]
    fn protobuf_falls_through_to_json() {
        let asked = accept("application/vnd.kubernetes.protobuf,application/json").unwrap();
        assert_eq!((asked.shape, asked.yaml), (Shape::Object, false));
        assert!(accept("application/vnd.kubernetes.protobuf").is_none());
    }
}
