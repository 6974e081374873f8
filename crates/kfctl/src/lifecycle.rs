//! The process as a whole. Signals: the first drains, the second ends at once. Open files: as many as it may have.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` at the first SIGINT or SIGTERM; a second one ends the process.
pub fn watch_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for round in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if round == 0 {
                eprintln!("stopping; once more to end at once");
                stop.cancel();
            } else {
                // Pods live on in their shims and are found again at the next start.
                #[allow(
                    clippy::disallowed_methods,
                    reason = "the second signal is the wish to end without draining"
                )]
                std::process::exit(130);
            }
        }
    });
    Ok(())
}

/// Every pod, watch and connection takes descriptors, and the usual soft limit of 1,024 is for programs that use
/// `select`. Where the limit cannot be raised the old one stands.
pub fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
