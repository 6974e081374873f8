//! What a server writes a process's input to: a pipe, or the master side of the process's terminal, which is read too.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::sandbox::passing;

/// Where a process reads its input from.
#[derive(Debug)]
pub enum ExecInput {
    /// A pipe.
    Pipe(pipe::Sender),
    /// A terminal.
    Terminal(Terminal),
}

impl ExecInput {
    /// Tells the process its terminal's new size; nothing to do for a pipe.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        match self {
            Self::Pipe(_) => Ok(()),
            Self::Terminal(terminal) => terminal.resize(columns, rows),
        }
    }

    /// A second handle that only resizes, for a task of its own.
    pub fn resizer(&self) -> io::Result<Option<Terminal>> {
        match self {
            Self::Pipe(_) => Ok(None),
            Self::Terminal(terminal) => terminal.try_clone().map(Some),
        }
    }
}

impl AsyncWrite for ExecInput {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Self::Terminal(terminal) => terminal.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The master side of a process's terminal.
#[derive(Debug)]
pub struct Terminal {
    fd: AsyncFd<OwnedFd>,
}

impl Terminal {
    /// Takes over a master side.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        passing::set_nonblocking(&fd)?;
        // SAFETY: the descriptor is owned by the registration and nobody else closes it.
        Ok(Self {
            fd: unsafe { AsyncFd::register(fd) }?,
        })
    }

    /// A second handle on the same terminal.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Self::new(self.fd.get_ref().try_clone()?)
    }

    /// Sets its size; the foreground processes get SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: `size` outlives the call, which only reads it.
        match unsafe { libc::ioctl(self.fd.get_ref().as_raw_fd(), libc::TIOCSWINSZ, &size) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_write_ready(context))?;
            // SAFETY: the slice is valid for its length.
            let written = ready.try_io(|fd| {
                check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
            });
            if let Ok(result) = written {
                return Poll::Ready(result);
            }
        }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            // SAFETY: the slice is valid for its length.
            let read = ready.try_io(|fd| {
                check(unsafe {
                    libc::read(fd.as_raw_fd(), unfilled.as_mut_ptr().cast(), unfilled.len())
                })
            });
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The last process closed the terminal: that is its end-of-file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

fn check(result: isize) -> io::Result<usize> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}
