//! How much may be sent before the peer says that it has taken it. Kubernetes' own peers keep no windows at all: they
//! never send an update, and a sender that waited for one would wait for ever. So windows bind from the moment at
//! which the peer first speaks of them; until then they are only counted.

/// A window's size when a connection begins.
pub(crate) const INITIAL_BYTES: i64 = 64 << 10;
/// After taking this much a receiver says so.
pub(crate) const UPDATE_BYTES: usize = (INITIAL_BYTES / 2) as usize;
/// The number of the setting that says how large a stream's window is at first.
pub(crate) const INITIAL_WINDOW_SETTING: u32 = 7;

/// The windows of one direction; those of the streams are kept with them.
#[derive(Debug)]
pub(crate) struct SendWindows {
    is_binding: bool,
    initial: i64,
    connection: i64,
}

impl Default for SendWindows {
    fn default() -> Self {
        Self {
            is_binding: false,
            initial: INITIAL_BYTES,
            connection: INITIAL_BYTES,
        }
    }
}

impl SendWindows {
    /// The window of a new stream.
    pub fn of_new_stream(&self) -> i64 {
        self.initial
    }

    /// How many of `wanted` bytes may be sent now on a stream.
    pub fn allow(&self, stream: i64, wanted: usize) -> usize {
        if !self.is_binding {
            return wanted;
        }
        let left = stream.min(self.connection).max(0);
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Counts what was sent; answers the stream's window after it.
    pub fn sent(&mut self, stream: i64, bytes: usize) -> i64 {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.connection = self.connection.saturating_sub(bytes);
        stream.saturating_sub(bytes)
    }

    /// The peer took bytes of the connection as a whole.
    pub fn taken(&mut self, delta: u32) {
        self.is_binding = true;
        self.connection = self.connection.saturating_add(delta.into());
    }

    /// The peer took bytes of a stream; answers its window after it.
    pub fn taken_of_stream(&mut self, stream: i64, delta: u32) -> i64 {
        self.is_binding = true;
        stream.saturating_add(delta.into())
    }

    /// The peer sets how large streams' windows are at first; answers by how much those of open streams change.
    pub fn set_initial(&mut self, bytes: u32) -> i64 {
        self.is_binding = true;
        let change = i64::from(bytes) - self.initial;
        self.initial = bytes.into();
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_never_speaks_of_windows_has_none() {
        let mut windows = SendWindows::default();
        let mut stream = windows.of_new_stream();
        for _ in 0..10 {
            assert_eq!(windows.allow(stream, 50_000), 50_000);
            stream = windows.sent(stream, 50_000);
        }
    }

    #[test]
    fn one_that_does_is_sent_no_more_than_it_takes() {
        let mut windows = SendWindows::default();
        let stream = windows.sent(windows.of_new_stream(), 60_000);
        windows.taken(10_000);
        assert_eq!(
            windows.allow(stream, 9_000),
            5_536,
            "what the stream has left"
        );
        let stream = windows.taken_of_stream(stream, 100_000);
        assert_eq!(
            windows.allow(stream, 90_000),
            15_536,
            "what the connection has left"
        );
        assert_eq!(windows.set_initial(0), -INITIAL_BYTES);
        assert_eq!(windows.allow(stream - INITIAL_BYTES - 60_000, 1), 0);
    }
}
