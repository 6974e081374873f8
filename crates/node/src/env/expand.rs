//! `$(VAR)` references in commands, arguments and values, as Kubernetes expands them: unknown names stay as
//! written and `$$` is one dollar sign that starts no reference.

/// Replaces every `$(NAME)` for which `lookup` knows a value.
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some(reference) = rest.strip_prefix('(') {
            match reference.find(')') {
                Some(end) => {
                    let name = &reference[..end];
                    match lookup(name) {
                        Some(value) => output.push_str(&value),
                        None => {
                            output.push_str("$(");
                            output.push_str(name);
                            output.push(')');
                        }
                    }
                    rest = &reference[end + 1..];
                }
                None => {
                    output.push_str("$(");
                    rest = reference;
                }
            }
        } else {
            output.push('$');
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn known(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn a_known_name_is_replaced_and_an_unknown_one_stays() {
        assert_eq!(expand("x-$(A)-$(B)", known), "x-one-$(B)");
        assert_eq!(expand("[$(EMPTY)]", known), "[]");
    }

    #[test]
    fn a_doubled_dollar_starts_no_reference() {
        assert_eq!(expand("$$(A)", known), "$(A)");
        assert_eq!(expand("$$$(A)", known), "$one");
    }

    #[test]
    fn what_is_not_a_reference_stays_as_written() {
        for text in ["$A", "100$", "$(A", "$ (A)", "a$b"] {
            assert_eq!(expand(text, known), text);
        }
    }
}
