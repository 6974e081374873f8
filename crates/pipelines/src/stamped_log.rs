//! Logs are kept with the time of each line, as the kubelet writes it, so that a reader can be led to a moment; most clients
//! want the lines alone. `<time> <line>`; the kubelet cuts long lines into parts and stamps each part.

use std::io;

use async_stream::try_stream;
use bytes::Bytes;
use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use futures::{Stream, TryStreamExt as _, pin_mut};

/// Where a container runtime cuts a long line.
const PART_BYTES: usize = 16 << 10;

/// The line without its stamps; a line that has none stays as it is.
pub fn unstamp(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(text) = after_stamp(rest) {
        let (part, more) = text.split_at(text.len().min(PART_BYTES));
        plain.extend_from_slice(part);
        rest = more;
    }
    plain.extend_from_slice(rest);
    plain
}

/// What follows a time like `2026-01-02T03:04:05.678901234Z `.
fn after_stamp(line: &[u8]) -> Option<&[u8]> {
    const SHORTEST: usize = "2026-01-02T03:04:05Z".len();
    const LONGEST: usize = "2026-01-02T03:04:05.678901234+00:00".len();
    let end = line
        .iter()
        .take(LONGEST + 1)
        .position(|byte| *byte == b' ')?;
    let stamp = std::str::from_utf8(&line[..end]).ok()?;
    let is_stamp = end >= SHORTEST && stamp.parse::<jiff::Timestamp>().is_ok();
    is_stamp.then(|| &line[end + 1..])
}

/// The lines of a log as they are, whatever bytes they hold.
pub fn lines(log: impl AsyncBufRead) -> impl Stream<Item = io::Result<Bytes>> {
    try_stream! {
        pin_mut!(log);
        loop {
            let mut line = Vec::new();
            if log.read_until(b'\n', &mut line).await? == 0 {
                break;
            }
            yield Bytes::from(line);
        }
    }
}

/// The lines of a log without their stamps.
pub fn unstamped(log: impl AsyncBufRead) -> impl Stream<Item = io::Result<Bytes>> {
    lines(log).map_ok(|line| unstamp(&line).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_what_the_program_wrote() {
        let kept = b"2026-01-02T03:04:05.678901234Z one\n2026-01-02T03:04:06Z \n2026-01-02T03:04:06Z \xff\n2026-01-02T03:04:07Z no end";
        let shown: Vec<Bytes> = unstamped(&kept[..]).try_collect().await.unwrap();
        assert_eq!(shown.concat(), b"one\n\n\xff\nno end");
    }

    #[test]
    fn the_stamps_inside_a_line_that_was_cut_go_too() {
        let long = "x".repeat(PART_BYTES);
        let kept = format!("2026-01-02T03:04:05Z {long}2026-01-02T03:04:05Z y\n");
        assert_eq!(unstamp(kept.as_bytes()), format!("{long}y\n").into_bytes());
    }

    #[test]
    fn a_time_that_the_program_wrote_itself_stays() {
        let kept = b"2026-01-02T03:04:05Z 2026-01-02T03:04:00Z started\n";
        assert_eq!(unstamp(kept), b"2026-01-02T03:04:00Z started\n");
        assert_eq!(unstamp(b"no stamp at all\n"), b"no stamp at all\n");
    }
}
