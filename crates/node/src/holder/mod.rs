//! The holder: a small process that keeps the node's user and network namespaces while the server may come and go.
//! It only makes sockets there and hands them over; what they are used for is the server's concern.

mod id_map;

pub use id_map::{IdMap, IdRange};
