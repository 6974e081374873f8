//! Two versions: the guide's, which scripts ask for, and Ferroflow's own.

/// The version that the guide's users expect of `kfctl`.
pub const KFCTL: &str = "1.7.0";

/// Ferroflow's own version.
pub const FERROFLOW: &str = env!("CARGO_PKG_VERSION");

/// Both, for `--version`.
pub const LONG: &str = concat!("1.7.0 (ferroflow ", env!("CARGO_PKG_VERSION"), ")");

/// The image that the installed Deployments and pipeline pods name: this very binary.
pub const IMAGE: &str = concat!("ferroflow/kfctl:", env!("CARGO_PKG_VERSION"));
