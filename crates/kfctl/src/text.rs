//! How figures, times and errors read, in one form everywhere on the command line.

use jiff::{Timestamp, Unit};

/// The chain of causes in one line.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !parts.last().is_some_and(|last| last.contains(&cause)) {
            parts.push(cause);
        }
    }
    parts.join(": ")
}

/// Bytes, as `12.3 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Seconds, as kubectl prints ages: `45s`, `3m12s`, `5h`, `2d`.
pub fn age_seconds(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..600 => format!("{}m{}s", s / 60, s % 60),
        s @ 600..10_800 => format!("{}m", s / 60),
        s @ 10_800..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Time since an RFC 3339 moment, or `-`.
pub fn since(moment: &str) -> String {
    moment.parse::<Timestamp>().map_or_else(
        |_| "-".to_owned(),
        |moment| age_seconds(seconds_between(moment, Timestamp::now())),
    )
}

/// Time between two RFC 3339 moments; up to now where the second is missing or the epoch.
pub fn between(start: &str, end: &str) -> String {
    let Ok(start) = start.parse::<Timestamp>() else {
        return "-".to_owned();
    };
    if start.as_second() <= 0 {
        return "-".to_owned();
    }
    let end = end
        .parse::<Timestamp>()
        .ok()
        .filter(|end| end.as_second() > 0)
        .unwrap_or_else(Timestamp::now);
    age_seconds(seconds_between(start, end))
}

/// Whether this is an RFC 3339 moment other than the epoch, which stands for none.
pub fn is_moment(moment: &str) -> bool {
    moment
        .parse::<Timestamp>()
        .is_ok_and(|moment| moment.as_second() > 0)
}

fn seconds_between(start: Timestamp, end: Timestamp) -> i64 {
    end.since((Unit::Second, start))
        .map_or(0, |span| span.get_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_sentence_without_repeating_itself() {
        let error = anyhow::anyhow!("port 7878 is taken")
            .context("start the console")
            .context("start the console: port 7878 is taken");
        assert_eq!(sentence(&error), "start the console: port 7878 is taken");
    }

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(age_seconds(192), "3m12s");
        assert_eq!(age_seconds(90_000), "25h");
        assert_eq!(
            between("2026-01-01T00:00:00Z", "2026-01-01T00:01:05Z"),
            "65s"
        );
        assert_eq!(between("1970-01-01T00:00:00Z", ""), "-");
    }
}
