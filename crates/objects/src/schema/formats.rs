//! Formats of texts, as the API server checks them: a format that is not known is not checked.

use base64::Engine;

/// Whether the text has the format; unknown formats accept everything.
pub(super) fn accepts(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(text)
            .is_ok(),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "email" => text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && is_hostname(domain)),
        "hostname" => is_hostname(text),
        "uri" => is_uri(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "k8s-short-name" => crate::names::dns_label(text).is_empty(),
        "k8s-long-name" => crate::names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// Whether a whole number fits the format.
pub(super) fn accepts_integer(format: &str, number: &serde_json::Number) -> bool {
    match format {
        "int32" => number
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        "int64" => {
            number.as_i64().is_some() || number.as_f64().is_some_and(|number| number.abs() < 9.3e18)
        }
        _ => true,
    }
}

/// `1h30m`, as Go writes durations, or a number with a unit in words (`2 weeks`).
fn is_duration(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned.trim();
    let mut has_part = false;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = &rest[..digits];
        if number.parse::<f64>().is_err() {
            return false;
        }
        rest = rest[digits..].trim_start();
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let is_unit = matches!(
            &rest[..end],
            "ns" | "us"
                | "µs"
                | "μs"
                | "ms"
                | "s"
                | "m"
                | "h"
                | "d"
                | "w"
                | "hr"
                | "min"
                | "sec"
                | "day"
                | "days"
                | "week"
                | "weeks"
                | "hour"
                | "hours"
                | "minute"
                | "minutes"
                | "second"
                | "seconds"
        );
        if !is_unit {
            return false;
        }
        rest = rest[end..].trim_start();
        has_part = true;
    }
    has_part
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    bits.parse::<u8>().is_ok_and(|bits| bits <= max) && !(bits.len() > 1 && bits.starts_with('0'))
}

fn is_hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.trim_end_matches('.').split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// A scheme and something behind it, or an absolute path; no spaces.
fn is_uri(text: &str) -> bool {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.is_empty()
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let compact: String = text.chars().filter(|c| *c != '-').collect();
    compact.len() == 32
        && compact.bytes().all(|byte| byte.is_ascii_hexdigit())
        && version.is_none_or(|version| compact.chars().nth(12) == Some(version))
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn each_format_accepts_and_refuses() {
        let cases = [
            ("date-time", "2026-11-24T09:00:00Z", "2026-11-24"),
            ("date-time", "2026-11-24T09:00:00.123456+01:00", "yesterday"),
            ("date", "2026-02-28", "2026-02-30"),
            ("byte", "aGk=", "a"),
            ("duration", "1h30m", "1x"),
            ("duration", "-1.5s", ""),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("email", "a@b.org", "a.b.org"),
            ("hostname", "a-b.c", "-a"),
            ("uri", "https://a/b?c", "not a uri"),
            ("mac", "00:1b:44:11:3a:b7", "00:1b:44"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            (
                "uuid4",
                "123e4567-e89b-42d3-a456-426614174000",
                "123e4567-e89b-12d3-a456-426614174000",
            ),
            ("k8s-short-name", "a-b", "a.b"),
        ];
        for (format, good, bad) in cases {
            assert!(accepts(format, good), "{format} {good}");
            assert!(!accepts(format, bad), "{format} {bad}");
        }
        assert!(accepts("made-up", "anything"));
    }
}
