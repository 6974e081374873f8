//! Reading container logs: lines of `time stream tag text` (the CRI's format), newest file last. Pure but for the file
//! reads; following a log is the HTTP API's.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// One line of a log, or a part of one that was too long.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// When it was written, as it stands in the file.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The line goes on in the next entry.
    pub is_partial: bool,
    /// What the container wrote, without the line end.
    pub text: &'a [u8],
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Only this many lines from the end.
    pub tail_lines: Option<usize>,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// With the time before each line.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<usize>,
    /// Only this stream.
    pub stream: Option<String>,
}

/// Reads one line of a log file; none if it is not in the format.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tag = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Line {
        time,
        stream,
        is_partial: tag.first() == Some(&b'P'),
        text,
    })
}

/// A log with its older parts, oldest first.
pub fn parts(log: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = (1..=9)
        .map(|number| {
            let mut name = log.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        })
        .take_while(|path| path.exists())
        .collect();
    found.reverse();
    found.push(log.to_owned());
    found
}

impl Selection {
    /// What is shown of one line; none if it is not wanted. Does not count lines or bytes.
    pub fn shown(&self, line: &[u8]) -> Option<Vec<u8>> {
        let line = parse(line)?;
        if self
            .stream
            .as_deref()
            .is_some_and(|stream| stream != line.stream)
        {
            return None;
        }
        if let Some(since) = self.since
            && line
                .time
                .parse::<Timestamp>()
                .is_ok_and(|time| time < since)
        {
            return None;
        }
        let mut shown = Vec::with_capacity(line.text.len() + 40);
        if self.timestamps {
            shown.extend_from_slice(line.time.as_bytes());
            shown.push(b' ');
        }
        shown.extend_from_slice(line.text);
        if !line.is_partial {
            shown.push(b'\n');
        }
        Some(shown)
    }
}

/// What there is of a log now, and how far into its current file that goes (for following).
pub fn read(log: &Path, selection: &Selection) -> io::Result<(Vec<u8>, u64)> {
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut position = 0;
    for part in parts(log) {
        let is_current = part == log;
        let start = match selection.tail_lines {
            Some(lines) => near_the_end(&part, lines + 1)?,
            None => 0,
        };
        let mut file = match File::open(&part) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(start))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        // The last line may still be growing.
        let whole = content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if is_current {
            position = start + whole as u64;
        }
        let lines = content[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        shown.extend(lines.filter_map(|line| selection.shown(line)));
    }
    if let Some(tail) = selection.tail_lines {
        shown.drain(..shown.len().saturating_sub(tail));
    }
    let mut output = shown.concat();
    if let Some(limit) = selection.limit_bytes {
        output.truncate(limit);
    }
    Ok((output, position))
}

/// A position at the start of a line, at least `lines` lines before the end (or the file's start).
fn near_the_end(path: &Path, lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut end = file.metadata()?.len();
    let mut found = 0;
    let mut block = vec![0; BLOCK as usize];
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let length = usize::try_from(end - start).unwrap_or(0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..length])?;
        for at in (0..length).rev() {
            if block[at] == b'\n' {
                found += 1;
                if found > lines {
                    return Ok(start + at as u64 + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// The end of what a container wrote, as its termination message: at most 80 lines and 2 KiB.
pub fn last_words(log: &Path) -> String {
    let selection = Selection {
        tail_lines: Some(80),
        ..Selection::default()
    };
    let Ok((output, _)) = read(log, &selection) else {
        return String::new();
    };
    let start = output.len().saturating_sub(2048);
    String::from_utf8_lossy(&output[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn log(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        fs::write(
            &path,
            lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        )
        .expect("written");
        (folder, path)
    }

    fn shown(path: &Path, selection: Selection) -> String {
        String::from_utf8(read(path, &selection).expect("read").0).expect("text")
    }

    const THREE: [&str; 3] = [
        "2026-01-01T00:00:01.000000001Z stdout F one",
        "2026-01-01T00:00:02.000000001Z stderr F two",
        "2026-01-01T00:00:03.000000001Z stdout F three 3",
    ];

    #[test]
    fn lines_are_shown_as_the_container_wrote_them() {
        let (_folder, path) = log(&THREE);
        assert_eq!(shown(&path, Selection::default()), "one\ntwo\nthree 3\n");
        let timed = Selection {
            timestamps: true,
            tail_lines: Some(1),
            ..Selection::default()
        };
        assert_eq!(
            shown(&path, timed),
            "2026-01-01T00:00:03.000000001Z three 3\n"
        );
    }

    #[test]
    fn a_part_of_the_log_is_chosen_by_count_time_size_or_stream() {
        let (_folder, path) = log(&THREE);
        assert_eq!(
            shown(
                &path,
                Selection {
                    tail_lines: Some(2),
                    ..Selection::default()
                }
            ),
            "two\nthree 3\n"
        );
        assert_eq!(
            shown(
                &path,
                Selection {
                    tail_lines: Some(0),
                    ..Selection::default()
                }
            ),
            ""
        );
        let since = "2026-01-01T00:00:02Z".parse().ok();
        assert_eq!(
            shown(
                &path,
                Selection {
                    since,
                    ..Selection::default()
                }
            ),
            "two\nthree 3\n"
        );
        assert_eq!(
            shown(
                &path,
                Selection {
                    limit_bytes: Some(5),
                    ..Selection::default()
                }
            ),
            "one\nt"
        );
        assert_eq!(
            shown(
                &path,
                Selection {
                    stream: Some("stderr".into()),
                    ..Selection::default()
                }
            ),
            "two\n"
        );
    }

    #[test]
    fn a_line_in_parts_is_joined_again() {
        let (_folder, path) = log(&[
            "2026-01-01T00:00:01Z stdout P ab",
            "2026-01-01T00:00:01Z stdout F cd",
        ]);
        assert_eq!(shown(&path, Selection::default()), "abcd\n");
    }

    #[test]
    fn older_parts_come_first() {
        let (folder, path) = log(&THREE);
        fs::write(
            folder.path().join("0.log.1"),
            "2026-01-01T00:00:00Z stdout F zero\n",
        )
        .expect("written");
        assert_eq!(
            shown(&path, Selection::default()),
            "zero\none\ntwo\nthree 3\n"
        );
        assert_eq!(
            shown(
                &path,
                Selection {
                    tail_lines: Some(4),
                    ..Selection::default()
                }
            ),
            "zero\none\ntwo\nthree 3\n"
        );
    }

    #[test]
    fn a_long_log_is_read_from_its_end() {
        let many: Vec<String> = (0..20_000)
            .map(|n| format!("2026-01-01T00:00:00Z stdout F line {n}"))
            .collect();
        let (_folder, path) = log(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            shown(
                &path,
                Selection {
                    tail_lines: Some(2),
                    ..Selection::default()
                }
            ),
            "line 19998\nline 19999\n"
        );
        assert!(near_the_end(&path, 2).expect("a position") > 500_000);
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_empty() {
        assert_eq!(
            shown(
                Path::new("/none/0.log"),
                Selection {
                    tail_lines: Some(3),
                    ..Selection::default()
                }
            ),
            ""
        );
    }
}
