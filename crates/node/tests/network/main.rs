//! The node's network with real namespaces: pods are small processes that do as they are told. Needs a machine that
//! allows namespaces; where it does not, every test fails with the cause and the remedy.

mod cluster;
mod leaving;
mod life;
mod names;
mod ordinary_user;
mod pods;
mod services;
