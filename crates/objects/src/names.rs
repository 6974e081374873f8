//! Names: which texts may name an object, a label, a port, and how a name is generated.
//! The answers are lists of complaints in Kubernetes' words; an empty list means valid.

/// Longest DNS label, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const SUBDOMAIN_MAX: usize = 253;

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn starts_and_ends(text: &str, edge: fn(u8) -> bool, middle: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [] => false,
        [only] => edge(*only),
        [first, inner @ .., last] => {
            edge(*first) && edge(*last) && inner.iter().all(|byte| middle(*byte))
        }
    }
}

fn is_label(text: &str) -> bool {
    starts_and_ends(text, lower_alnum, |byte| lower_alnum(byte) || byte == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    starts_and_ends(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// Names of namespaces, Services and containers: RFC 1123 labels.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX));
    }
    if !is_label(text) {
        let has_dots = text.contains('.') && text.split('.').all(is_label);
        let rule = if has_dots {
            "must not contain dots"
        } else {
            LABEL_RULE
        };
        errors.push(rule.to_owned());
    }
    errors
}

/// Names of most objects: RFC 1123 subdomains.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(is_label) {
        errors.push(SUBDOMAIN_RULE.to_owned());
    }
    errors
}

/// Names of Services: labels that start with a letter.
pub fn dns_label_1035(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX));
    }
    if !is_label(text) || !text.as_bytes()[0].is_ascii_lowercase() {
        errors.push(LABEL_1035_RULE.to_owned());
    }
    errors
}

/// Names that only have to fit into one segment of a path: RBAC objects and other kinds with free names.
pub fn path_segment(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    for whole in [".", ".."] {
        if text == whole {
            return vec![format!("may not be '{whole}'")];
        }
    }
    for part in ["/", "%"] {
        if text.contains(part) {
            errors.push(format!("may not contain '{part}'"));
        }
    }
    errors
}

/// Keys of labels and annotations, names of finalizers: an optional DNS subdomain, a slash, a name.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((prefix, name)) if !name.contains('/') => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(
                    dns_subdomain(prefix)
                        .into_iter()
                        .map(|error| format!("prefix part {error}")),
                );
            }
            name
        }
        Some(_) => {
            return vec![format!(
                "a qualified name {QUALIFIED_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        errors.push(format!("name part {QUALIFIED_RULE}"));
    }
    errors
}

/// Values of labels.
pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(too_long(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        errors.push(LABEL_VALUE_RULE.to_owned());
    }
    errors
}

/// Names of ports (IANA service names).
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push("must be no more than 15 characters".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|byte| lower_alnum(byte) || byte == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// Names of environment variables: any printable ASCII except `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
    {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned(),
    ]
}

/// Keys of ConfigMaps and Secrets: they become file names.
pub fn config_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        errors.push(too_long(SUBDOMAIN_MAX));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    {
        errors.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    if text == "." || text == ".." {
        errors.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        errors.push("must not start with '..'".to_owned());
    }
    errors
}

const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LEN: usize = 5;

/// Five letters and digits that spell no words, from a random number.
pub fn suffix(mut random: u64) -> String {
    let mut out = String::with_capacity(SUFFIX_LEN);
    for _ in 0..SUFFIX_LEN {
        out.push(SUFFIX_ALPHABET[(random % 27) as usize] as char);
        random /= 27;
    }
    out
}

/// `metadata.name` from `metadata.generateName` and a random number; the base is cut so that the name stays a DNS label.
pub fn generate(base: &str, random: u64) -> String {
    let mut end = base.len().min(LABEL_MAX - SUFFIX_LEN);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], suffix(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_subdomains_and_path_segments_accept_and_refuse() {
        for good in ["a", "a-b", "0", &"x".repeat(63)] {
            assert!(dns_label(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a.b", &"x".repeat(64)] {
            assert!(!dns_label(bad).is_empty(), "{bad}");
        }
        assert!(dns_subdomain("a.b-c.d").is_empty());
        for bad in ["", "a..b", ".a", "a.", "a_b"] {
            assert!(!dns_subdomain(bad).is_empty(), "{bad}");
        }
        assert!(dns_label_1035("a1").is_empty());
        assert!(!dns_label_1035("1a").is_empty());
        assert!(path_segment("system:node").is_empty());
        for bad in [".", "..", "a/b", "50%"] {
            assert!(!path_segment(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn qualified_names_may_have_one_prefix() {
        for good in ["a", "My.Name_1", "example.com/name", "kubernetes.io/os"] {
            assert!(qualified_name(good).is_empty(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "Example.com/a", "a b"] {
            assert!(!qualified_name(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn label_values_may_be_empty_but_not_odd() {
        assert!(label_value("").is_empty());
        assert!(label_value("My_Value.1").is_empty());
        assert!(!label_value("a b").is_empty());
        assert!(!label_value("_a").is_empty());
    }

    #[test]
    fn port_and_key_names_follow_their_own_rules() {
        assert!(port_name("http-web").is_empty());
        for bad in ["", "80", "-a", "a--b", "toolongportname0", "A"] {
            assert!(!port_name(bad).is_empty(), "{bad}");
        }
        assert!(config_key("key.name").is_empty());
        for bad in ["", "..", "..a", "a/b"] {
            assert!(!config_key(bad).is_empty(), "{bad}");
        }
        assert!(env_var_name("my.VAR-1").is_empty());
        assert!(!env_var_name("a=b").is_empty());
    }

    #[test]
    fn a_generated_name_keeps_its_base_and_stays_a_label() {
        let name = generate("job-", 12345678901);
        assert!(name.starts_with("job-") && name.len() == 9);
        assert_eq!(generate(&"x".repeat(80), 1).len(), 63);
        assert_ne!(suffix(1), suffix(2));
    }
}
