//! A key: a relative path made of plain components. It keeps true that no key names anything outside its store,
//! whatever text it was made from.

use std::fmt;

use crate::Error;

/// A slash-separated relative path without empty, `.` or `..` components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Reads a key; a trailing slash is dropped, everything else that is not a plain relative path is refused.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Key {
            key: text.chars().take(200).collect(),
            reason,
        };
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if trimmed.is_empty() {
            return Err(refuse("it is empty"));
        }
        if trimmed.len() > 4096 {
            return Err(refuse("it is longer than 4096 bytes"));
        }
        for component in trimmed.split('/') {
            match component {
                "" => return Err(refuse("it has an empty component")),
                "." | ".." => return Err(refuse("it steps out of its folder")),
                name if name.contains(['\0', '\\']) => {
                    return Err(refuse("it holds a backslash or a zero byte"));
                }
                name if name.len() > 255 => {
                    return Err(refuse("a component is longer than 255 bytes"));
                }
                _ => {}
            }
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// This key with more components below it.
    pub fn join(&self, below: &str) -> Result<Self, Error> {
        Self::parse(&format!("{}/{below}", self.0))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

/// Makes one safe component out of any text: what a path or a URI might read differently becomes `-`.
pub fn component(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    if name.is_empty() || name.chars().all(|c| c == '.') {
        name = "unnamed".to_owned();
    }
    name
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_relative_path_is_a_key() {
        assert_eq!(
            Key::parse("v2/artifacts/demo/model/").unwrap().as_str(),
            "v2/artifacts/demo/model"
        );
    }

    #[test]
    fn a_path_that_leaves_its_root_is_no_key() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/./b",
            "a\0b",
            "a\\..\\b",
        ] {
            assert!(Key::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn any_name_becomes_one_safe_component() {
        assert_eq!(component("my pipeline/../x"), "my-pipeline-..-x");
        assert_eq!(component(".."), "unnamed");
        assert!(Key::parse(&component("数据")).is_ok());
    }
}
