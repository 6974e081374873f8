//! Sets of completion indexes, written as in a job's status: `1,3-5,7`.

use std::collections::BTreeSet;

/// Reads a set; parts that make no sense, or lie at or beyond `limit`, are left out.
pub fn parse(text: &str, limit: i32) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first.max(0)..=last.min(limit - 1));
        }
    }
    indexes
}

/// Writes a set; a run of three or more is written as a range.
pub fn format(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let parts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        let indexes = parse("1,3-5,7", 10);
        assert_eq!(indexes, BTreeSet::from([1, 3, 4, 5, 7]));
        assert_eq!(format(&indexes), "1,3-5,7");
        assert_eq!(format(&BTreeSet::from([0, 1])), "0,1");
        assert_eq!(format(&BTreeSet::new()), "");
    }

    #[test]
    fn what_lies_beyond_the_limit_or_makes_no_sense_is_left_out() {
        assert_eq!(parse("0-9,x,12", 3), BTreeSet::from([0, 1, 2]));
    }
}
