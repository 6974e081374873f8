//! Signals: the first drains, the second ends at once.

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
