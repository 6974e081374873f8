//! SPDY/3.1, which kubectl and Kubernetes' API server speak for exec, attach and port-forward: pure framing with the
//! shared header compression, and a connection that carries many streams. What a peer sends is bounded in every
//! dimension and never panics.
//!
//! HTTP upgrades, Kubernetes' headers and what streams mean are the callers' concern.

mod dictionary;
mod frame;
mod headers;

mod buffer;
mod connection;
mod read;
mod stream;
mod window;
mod write;

pub use connection::{Connection, Opener, Role};
pub use frame::{Decoder, Encoder, Error, Frame, Setting};
pub use headers::Headers;
pub use stream::Stream;
