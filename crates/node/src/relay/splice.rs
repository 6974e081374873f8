//! Carries bytes between two TCP connections inside the kernel. Each direction ends by itself (half-close); an error
//! in one ends both. `SPLICE_F_MORE` is never used: it would hold small replies back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Moved at once; as large as the kernel lets an ordinary user's pipes be without counting them as many.
const PIPE_BYTES: usize = 256 * 1024;
/// Empty pipes kept for the next transfer. An idle connection holds none.
const SPARE_PIPES: usize = 64;

struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
}

/// Empty pipes, shared by all connections.
#[derive(Default)]
pub(crate) struct Pipes(Mutex<Vec<Pipe>>);

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(pipe) = spare {
            return Ok(pipe);
        }
        let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let bytes = i32::try_from(PIPE_BYTES).expect("a small number");
        // Over the user's limit the pipe stays at 64 KiB: slower, not wrong.
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(bytes));
        Ok(Pipe { output, input })
    }

    fn give_back(&self, empty: Pipe) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_PIPES {
            spare.push(empty);
        }
    }
}

/// When bytes last moved in either direction.
struct Activity {
    begun: Instant,
    last_ms: AtomicU64,
    limit: Duration,
}

impl Activity {
    fn note(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Waits for `ready`, giving up when neither direction has moved anything for the limit.
    async fn wait<T>(&self, ready: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut ready = std::pin::pin!(ready);
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let idle = self.begun.elapsed().saturating_sub(last);
            let Some(left) = self.limit.checked_sub(idle).filter(|left| !left.is_zero()) else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            if let Ok(outcome) = timeout(left, &mut ready).await {
                return outcome;
            }
        }
    }
}

/// Bytes carried each way, counted as they go.
pub(crate) struct Counts<'a> {
    pub sent: &'a AtomicU64,
    pub received: &'a AtomicU64,
}

/// Carries until both sides have finished, one fails, or nothing has moved for `idle_limit`. After an error both
/// connections must be reset, so that neither side takes what it has for all there is.
pub(crate) async fn carry(
    pod: &mut TcpStream,
    target: &mut TcpStream,
    pipes: &Pipes,
    counts: &Counts<'_>,
    idle_limit: Duration,
) -> io::Result<()> {
    let activity = Activity {
        begun: Instant::now(),
        last_ms: AtomicU64::new(0),
        limit: idle_limit,
    };
    tokio::try_join!(
        one_way(pod, target, pipes, &activity, counts.sent),
        one_way(target, pod, pipes, &activity, counts.received),
    )?;
    Ok(())
}

async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &Pipes,
    activity: &Activity,
    count: &AtomicU64,
) -> io::Result<()> {
    loop {
        activity.wait(from.readable()).await?;
        let pipe = pipes.take()?;
        // A pipe that holds bytes when an error ends this is dropped with them.
        let read = from.try_io(Interest::READABLE, || step(from, &pipe.input, PIPE_BYTES));
        let mut left = match read {
            Ok(0) => {
                pipes.give_back(pipe);
                break;
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipes.give_back(pipe);
                continue;
            }
            Err(error) => return Err(error),
        };
        while left > 0 {
            match to.try_io(Interest::WRITABLE, || step(&pipe.output, to, left)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    left -= length;
                    count.fetch_add(length as u64, Ordering::Relaxed);
                    activity.note();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    activity.wait(to.writable()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        pipes.give_back(pipe);
        // A fast pair of connections must not keep the others waiting.
        tokio::task::coop::consume_budget().await;
    }
    finish(to)
}

/// Ends one direction; the other goes on.
fn finish(to: &TcpStream) -> io::Result<()> {
    match shutdown(to.as_raw_fd(), Shutdown::Write) {
        // The other side has reset it meanwhile: its own direction will say so.
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn step(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let (start, flags) = (
        std::ptr::null_mut(),
        libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK,
    );
    // SAFETY: plain system call on two open descriptors; neither has an offset.
    let moved = unsafe { libc::splice(from, start, to, start, most, flags) };
    usize::try_from(Errno::result(moved)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (dialled.expect("connected"), accepted.expect("accepted").0)
    }

    struct Carried {
        client: TcpStream,
        server: TcpStream,
        outcome: tokio::task::JoinHandle<(io::Result<()>, u64, u64)>,
    }

    async fn carried(idle_limit: Duration) -> Carried {
        let ((client, mut pod), (mut target, server)) = (pair().await, pair().await);
        let outcome = tokio::spawn(async move {
            let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
            let counts = Counts {
                sent: &sent,
                received: &received,
            };
            let outcome = carry(
                &mut pod,
                &mut target,
                &Pipes::default(),
                &counts,
                idle_limit,
            )
            .await;
            if outcome.is_err() {
                pod.set_zero_linger().expect("set");
                target.set_zero_linger().expect("set");
            }
            (outcome, sent.into_inner(), received.into_inner())
        });
        Carried {
            client,
            server,
            outcome,
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let Carried {
            mut client,
            mut server,
            outcome,
        } = carried(LONG).await;
        client.write_all(b"question").await.expect("sent");
        client.shutdown().await.expect("finished");
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.expect("heard");
        assert_eq!(heard, "question");
        server.write_all(b"answer").await.expect("sent");
        drop(server);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.expect("heard");
        assert_eq!(heard, "answer");
        let (outcome, sent, received) = outcome.await.expect("no panic");
        outcome.expect("carried");
        assert_eq!((sent, received), (8, 6));
    }

    #[tokio::test]
    async fn many_bytes_arrive_whole_and_in_order() {
        let Carried {
            client,
            server,
            outcome,
        } = carried(LONG).await;
        let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let (mut reader, mut writer) = client.into_split();
        let (mut echo_reader, mut echo_writer) = server.into_split();
        let echo = tokio::spawn(async move {
            tokio::io::copy(&mut echo_reader, &mut echo_writer)
                .await
                .expect("echoed");
            echo_writer.shutdown().await.expect("finished");
        });
        let sent = bytes.clone();
        let send = tokio::spawn(async move {
            writer.write_all(&sent).await.expect("sent");
            writer.shutdown().await.expect("finished");
        });
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.expect("heard");
        assert!(heard == bytes, "{} of {} bytes", heard.len(), bytes.len());
        send.await.expect("no panic");
        echo.await.expect("no panic");
        outcome.await.expect("no panic").0.expect("carried");
    }

    #[tokio::test]
    async fn a_reset_is_passed_on_as_a_reset() {
        let Carried {
            mut client,
            server,
            outcome,
        } = carried(LONG).await;
        server.set_zero_linger().expect("set");
        drop(server);
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(outcome.await.expect("no panic").0.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_moves_nothing_ends_at_the_limit() {
        let Carried {
            mut client,
            server,
            outcome,
        } = carried(Duration::from_millis(200)).await;
        client.write_all(b"the last word").await.expect("sent");
        let (outcome, sent, _) = outcome.await.expect("no panic");
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(sent, 13);
        drop(server);
    }
}
