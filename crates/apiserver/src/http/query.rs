//! Query parameters of the API, read by name.

/// Decoded parameters in the order of the request.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a flag is set; a bare `?watch` counts.
    pub fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| {
            known == name && !matches!(value.as_str(), "0" | "false" | "False" | "f")
        })
    }

    /// A parameter that is a number.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Option<Result<N, String>> {
        self.get(name).map(|value| {
            value
                .parse()
                .map_err(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn values_are_decoded_and_empty_ones_are_absent() {
        let query = Query::parse(
            "labelSelector=app%3Dweb%2Ctier+in+(a)&watch&limit=&command=ls&command=-l",
        );
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.flag("watch") && query.get("limit").is_none());
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["ls", "-l"]);
    }
}
