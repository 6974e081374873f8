//! The whole component against the real API server in this process, with a node that is played: it binds pods, walks them
//! through their phases and leaves the report the launcher would leave.

mod node;
mod platform;

mod access;
mod claims;
mod pods;
mod restart;
