//! Pods as real processes: what they see, what they may do, how they end, and that they outlive the server. Every test
//! runs as whoever runs the tests; when that is root, once more as an ordinary user.

#[path = "../ordinary_user/mod.rs"]
mod ordinary_user;
mod owner;
mod pod;

mod layers;
mod life;
mod limits;
mod streams;
mod walls;
