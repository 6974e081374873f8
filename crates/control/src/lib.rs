//! How a controller runs: shared watches into caches, queues with backoff, workers, and the small writes every
//! controller makes (events, conditions, finalizers, owner references).
//! It knows `kube::Client` and nothing of any particular kind; what to do is left to the controllers.

pub mod cache;
pub mod conditions;
pub mod events;
pub mod finalizers;
pub mod informer;
mod key;
pub mod lease;
pub mod metrics;
pub mod noted;
pub mod owners;
pub mod queue;
pub mod worker;
pub mod write;

pub use cache::{Cache, Change};
pub use events::Recorder;
pub use informer::Informer;
pub use key::Key;
pub use queue::Queue;
pub use worker::{Controller, Next};
pub use write::Writer;
