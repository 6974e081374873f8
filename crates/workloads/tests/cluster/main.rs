//! The controllers and the scheduler against the real API server, in process: real store, real client, and a stand-in
//! for the kubelet that makes bound pods run.

mod garbage;
mod home;
mod jobs;
mod leadership;
mod namespaces;
mod rollouts;
mod scheduling;
mod services;
mod sets;
mod storage;
