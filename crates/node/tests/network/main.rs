//! The node's network with real namespaces: pods are small processes that do as they are told. Needs a machine that
//! allows namespaces; where it does not, every test fails with the cause and the remedy.

mod cluster;
#[path = "../ordinary_user/mod.rs"]
mod ordinary_user;

mod again;
mod leaving;
mod life;
mod names;
mod pods;
mod services;
