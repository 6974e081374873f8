//! Cron schedules as CronJobs write them: five fields, the usual names, `@daily` and the like, `@every`, and a time
//! zone.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// How far ahead a next time is looked for: two leap years, for the 29th of February.
const YEARS: i64 = 9;

/// A schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    when: When,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum When {
    Every(SignedDuration),
    Fields(Box<Fields>),
}

/// One bit per value that a field admits.
#[derive(Clone, Debug)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Days and weekdays are alternatives when both are restricted.
    either_day: bool,
}

/// Why a schedule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Schedule {
    /// Reads a schedule; without a zone it is in UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, Unreadable> {
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|_| Unreadable(format!("unknown time zone {name}")))?
            }
        };
        let text = text.trim();
        if let Some(duration) = text.strip_prefix("@every ") {
            let duration: SignedDuration = duration
                .trim()
                .parse()
                .map_err(|_| Unreadable(format!("failed to parse duration {text}")))?;
            let seconds = duration.as_secs().max(1);
            return Ok(Self {
                when: When::Every(SignedDuration::from_secs(seconds)),
                zone,
            });
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        Ok(Self {
            when: When::Fields(Box::new(Fields::parse(text)?)),
            zone,
        })
    }

    /// The first time after `after`, if there ever is one. Objects carry an older version of the time types, without
    /// time zones.
    pub fn next(
        &self,
        after: k8s_openapi::jiff::Timestamp,
    ) -> Option<k8s_openapi::jiff::Timestamp> {
        let after = Timestamp::from_nanosecond(after.as_nanosecond()).ok()?;
        k8s_openapi::jiff::Timestamp::from_nanosecond(self.next_time(after)?.as_nanosecond()).ok()
    }

    fn next_time(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Every(period) => {
                Some(Timestamp::from_second((after + *period).as_second()).ok()?)
            }
            When::Fields(fields) => {
                let local = self.zone.to_datetime(after);
                let mut from = local
                    .with()
                    .second(0)
                    .subsec_nanosecond(0)
                    .build()
                    .ok()?
                    .checked_add(1.minute())
                    .ok()?;
                loop {
                    let found = fields.next(from)?;
                    // A time that a change of clocks skips happens when the clocks have changed.
                    let at = self.zone.to_ambiguous_timestamp(found).compatible().ok()?;
                    if at > after {
                        return Some(at);
                    }
                    from = found.checked_add(1.minute()).ok()?;
                }
            }
        }
    }
}

impl Fields {
    fn parse(text: &str) -> Result<Self, Unreadable> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(Unreadable(format!(
                "expected exactly 5 fields, found {}: {text:?}",
                parts.len()
            )));
        };
        let months = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let is_restricted = |part: &str| !part.starts_with('*') && !part.starts_with('?');
        let mut weekday_bits = bits(weekday, 0, 7, &weekdays, 0)?;
        // Sunday is both 0 and 7.
        if weekday_bits & (1 << 7) != 0 {
            weekday_bits |= 1;
        }
        Ok(Self {
            minutes: bits(minute, 0, 59, &[], 0)?,
            hours: bits(hour, 0, 23, &[], 0)?,
            days: bits(day, 1, 31, &[], 0)?,
            months: bits(month, 1, 12, &months, 1)?,
            weekdays: weekday_bits,
            either_day: is_restricted(day) && is_restricted(weekday),
        })
    }

    fn admits_date(&self, date: Date) -> bool {
        let in_month = self.days & (1 << date.day()) != 0;
        let in_week = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        let day = if self.either_day {
            in_month || in_week
        } else {
            in_month && in_week
        };
        day && self.months & (1 << date.month()) != 0
    }

    /// The first time at or after `from`.
    fn next(&self, from: DateTime) -> Option<DateTime> {
        let limit = from.date().checked_add(YEARS.years()).ok()?;
        let mut date = from.date();
        let mut first = Some((from.hour(), from.minute()));
        while date <= limit {
            if self.months & (1 << date.month()) == 0 {
                date = date.first_of_month().checked_add(1.month()).ok()?;
                first = None;
                continue;
            }
            if self.admits_date(date)
                && let Some((hour, minute)) = self.time_from(first.unwrap_or((0, 0)))
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            first = None;
        }
        None
    }

    fn time_from(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let first = |bits: u64, from: i8| (from..64).find(|value| bits & (1 << value) != 0);
        if self.hours & (1 << hour) != 0
            && let Some(minute) = first(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        Some((first(self.hours, hour + 1)?, first(self.minutes, 0)?))
    }
}

/// The values of one field: lists of `*`, numbers, names and ranges, each with an optional step.
fn bits(
    field: &str,
    low: u32,
    high: u32,
    names: &[&str],
    first_name: u32,
) -> Result<u64, Unreadable> {
    let unreadable = || Unreadable(format!("failed to parse {field:?} in schedule"));
    let value = |text: &str| -> Result<u32, Unreadable> {
        let named = names
            .iter()
            .position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(position) => u32::try_from(position).unwrap_or(0) + first_name,
            None => text.parse().map_err(|_| unreadable())?,
        };
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(unreadable())
        }
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = part
            .split_once('/')
            .map_or((part, None), |(range, step)| (range, Some(step)));
        let step = step.map_or(Ok(1), |step| step.parse::<u32>().map_err(|_| unreadable()))?;
        if step == 0 {
            return Err(unreadable());
        }
        let (first, last) = match range {
            "*" | "?" => (low, high),
            _ => match range.split_once('-') {
                Some((first, last)) => (value(first)?, value(last)?),
                None if part.contains('/') => (value(range)?, high),
                None => (value(range)?, value(range)?),
            },
        };
        if first > last {
            return Err(unreadable());
        }
        for number in (first..=last).step_by(step as usize) {
            bits |= 1_u64 << number;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: Option<&str>, after: &str) -> String {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        schedule.next(after.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn fields_with_lists_ranges_steps_and_names() {
        assert_eq!(
            next("*/15 * * * *", None, "2026-01-01T10:07:30Z"),
            "2026-01-01T10:15:00Z"
        );
        assert_eq!(
            next("0 9-17/4 * * mon-fri", None, "2026-01-02T17:00:00Z"),
            "2026-01-05T09:00:00Z"
        );
        assert_eq!(
            next("5,35 0 1 jan *", None, "2026-01-01T00:05:00Z"),
            "2026-01-01T00:35:00Z"
        );
        assert_eq!(
            next("0 0 29 2 *", None, "2026-01-01T00:00:00Z"),
            "2028-02-29T00:00:00Z"
        );
        assert_eq!(
            next("@daily", None, "2026-01-01T00:00:00Z"),
            "2026-01-02T00:00:00Z"
        );
        assert_eq!(
            next("0 0 * * 7", None, "2026-01-01T00:00:00Z"),
            "2026-01-04T00:00:00Z"
        );
    }

    #[test]
    fn day_and_weekday_are_alternatives_when_both_are_given() {
        assert_eq!(
            next("0 0 13 * fri", None, "2026-01-01T00:00:00Z"),
            "2026-01-02T00:00:00Z"
        );
        assert_eq!(
            next("0 0 13 * fri", None, "2026-01-10T00:00:00Z"),
            "2026-01-13T00:00:00Z"
        );
    }

    #[test]
    fn a_zone_moves_the_time_and_its_changes_of_clocks_are_followed() {
        assert_eq!(
            next("0 9 * * *", Some("Europe/Berlin"), "2026-01-01T00:00:00Z"),
            "2026-01-01T08:00:00Z"
        );
        assert_eq!(
            next("0 9 * * *", Some("Europe/Berlin"), "2026-07-01T00:00:00Z"),
            "2026-07-01T07:00:00Z"
        );
        // 02:30 does not exist on this day.
        assert_eq!(
            next("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z"),
            "2026-03-29T01:30:00Z"
        );
    }

    #[test]
    fn every_counts_from_the_last_time() {
        assert_eq!(
            next("@every 1h30m", None, "2026-01-01T10:00:00Z"),
            "2026-01-01T11:30:00Z"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_or_never_comes() {
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "@every soon",
        ] {
            assert!(Schedule::parse(wrong, None).is_err(), "{wrong}");
        }
        assert!(Schedule::parse("* * * * *", Some("Mars/Olympus")).is_err());
        let never = Schedule::parse("0 0 31 2 *", None).unwrap();
        assert_eq!(never.next("2026-01-01T00:00:00Z".parse().unwrap()), None);
    }
}
