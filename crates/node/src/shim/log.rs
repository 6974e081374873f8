//! A container's output on disk, in the format of CRI: `<time> <stream> <F|P> <line>`. Long lines are cut into parts (`P`),
//! and an unfinished line at the end is a part too. Files are rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use jiff::Timestamp;

use super::spec::LogFile;

/// Longest line written in one piece.
const MAX_LINE_BYTES: usize = 16 << 10;

/// One of the streams a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Writes one container's log.
#[derive(Debug)]
pub struct Log {
    spec: LogFile,
    file: File,
    written: u64,
    unfinished: [Vec<u8>; 2],
}

impl Log {
    /// Opens the log, continuing what is there.
    pub fn open(spec: &LogFile) -> io::Result<Self> {
        if let Some(folder) = spec.path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let file = open(spec)?;
        let written = file.metadata()?.len();
        Ok(Self {
            spec: spec.clone(),
            file,
            written,
            unfinished: [Vec::new(), Vec::new()],
        })
    }

    /// Adds output as it was read, `now`.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut rest = std::mem::take(&mut self.unfinished[stream as usize]);
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            for part in parts(&mut rest) {
                entry(&mut out, stream, &part, false, now);
            }
            entry(&mut out, stream, &rest, true, now);
            rest.clear();
        }
        rest.extend_from_slice(bytes);
        for part in parts(&mut rest) {
            entry(&mut out, stream, &part, false, now);
        }
        self.unfinished[stream as usize] = rest;
        self.append(&out)
    }

    /// Writes what has no end of line, because no more will come.
    pub fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                let mut out = Vec::new();
                entry(&mut out, stream, &rest, false, now);
                self.append(&out)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if self.written > 0 && self.written + out.len() as u64 > self.spec.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(out)?;
        self.written += out.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let oldest = self.spec.max_files.max(1) - 1;
        let numbered =
            |number: u32| PathBuf::from(format!("{}.{number}", self.spec.path.display()));
        for number in (1..oldest).rev() {
            // Gaps are no harm: not every number need exist.
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        match oldest {
            0 => fs::remove_file(&self.spec.path)?,
            _ => fs::rename(&self.spec.path, numbered(1))?,
        }
        self.file = open(&self.spec)?;
        self.written = 0;
        Ok(())
    }
}

fn open(spec: &LogFile) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&spec.path)
}

/// Takes whole parts off the front of a line that is too long.
fn parts(line: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while line.len() > MAX_LINE_BYTES {
        let rest = line.split_off(MAX_LINE_BYTES);
        parts.push(std::mem::replace(line, rest));
    }
    parts
}

fn entry(out: &mut Vec<u8>, stream: Stream, line: &[u8], is_whole: bool, now: Timestamp) {
    let tag = if is_whole { 'F' } else { 'P' };
    // `write!` to a vector cannot fail.
    let _ = write!(out, "{now:.9} {} {tag} ", stream.name());
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-11-24T09:00:00.5Z".parse().expect("a time")
    }

    struct Case {
        dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().expect("a temporary folder"),
            }
        }

        fn log(&self, max_bytes: u64) -> Log {
            let path = self.dir.path().join("main/0.log");
            Log::open(&LogFile {
                path,
                max_bytes,
                max_files: 3,
            })
            .expect("open")
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.dir.path().join("main").join(name)).unwrap_or_default()
        }
    }

    #[test]
    fn each_line_carries_time_stream_and_tag() {
        let case = Case::new();
        let mut log = case.log(1 << 20);
        log.write(Stream::Stdout, b"one\ntw", at()).expect("write");
        log.write(Stream::Stderr, b"oops\n", at()).expect("write");
        log.write(Stream::Stdout, b"o\n", at()).expect("write");
        let expected = "2026-11-24T09:00:00.500000000Z stdout F one\n\
                        2026-11-24T09:00:00.500000000Z stderr F oops\n\
                        2026-11-24T09:00:00.500000000Z stdout F two\n";
        assert_eq!(case.read("0.log"), expected);
    }

    #[test]
    fn an_unfinished_line_at_the_end_is_a_part() {
        let case = Case::new();
        let mut log = case.log(1 << 20);
        log.write(Stream::Stdout, b"no newline", at())
            .expect("write");
        assert_eq!(case.read("0.log"), "");
        log.finish(at()).expect("finish");
        assert!(case.read("0.log").ends_with("stdout P no newline\n"));
    }

    #[test]
    fn a_long_line_is_cut_into_parts_that_join_to_the_whole() {
        let case = Case::new();
        let mut log = case.log(1 << 20);
        let line: String = (0..40_000)
            .map(|index| char::from(b'a' + (index % 26) as u8))
            .collect();
        log.write(Stream::Stdout, format!("{line}\n").as_bytes(), at())
            .expect("write");
        let text = case.read("0.log");
        let entries: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.splitn(4, ' ').collect())
            .collect();
        assert_eq!(
            entries.iter().map(|entry| entry[2]).collect::<String>(),
            "PPF"
        );
        assert_eq!(
            entries.iter().map(|entry| entry[3]).collect::<String>(),
            line
        );
    }

    #[test]
    fn files_are_rotated_by_size_and_the_oldest_goes() {
        let case = Case::new();
        let mut log = case.log(100);
        for number in 0..8 {
            log.write(
                Stream::Stdout,
                format!("line number {number}\n").as_bytes(),
                at(),
            )
            .expect("write");
        }
        assert!(case.read("0.log").contains("number 7"));
        assert!(case.read("0.log.1").contains("number 6"));
        assert!(case.read("0.log.2").contains("number 5"));
        assert_eq!(case.read("0.log.3"), "");
    }
}
