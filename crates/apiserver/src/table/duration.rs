//! Ages as people read them: `35s`, `4m12s`, `3h`, `2d5h`, `3y20d`. Mirrors Kubernetes 1.33
//! `k8s.io/apimachinery/pkg/util/duration.HumanDuration`.

/// Time since a timestamp; `<unknown>` for none.
pub fn since(timestamp: Option<&str>) -> String {
    match timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok()) {
        None => "<unknown>".into(),
        Some(then) => human((jiff::Timestamp::now().as_second() - then.as_second()).max(-2)),
    }
}

/// Seconds in at most two units.
pub fn human(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    if seconds < 0 {
        return "0s".into();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let pair = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 {
            format!("{whole}{unit}")
        } else {
            format!("{whole}{unit}{rest}{small}")
        }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        pair(hours / 24, "d", hours % 24, "h")
    } else if hours < 24 * 365 * 2 {
        format!("{}d", hours / 24)
    } else if hours < 24 * 365 * 8 {
        pair(hours / 24 / 365, "y", (hours / 24) % 365, "d")
    } else {
        format!("{}y", hours / 24 / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn two_units_at_most() {
        let cases = [
            (-2, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 120, "3h2m"),
            (47 * 3600, "47h"),
            (50 * 3600, "2d2h"),
            (9 * 86_400, "9d"),
            (731 * 86_400, "2y1d"),
        ];
        for (seconds, words) in cases {
            assert_eq!(human(seconds), words, "{seconds}");
        }
    }
}
