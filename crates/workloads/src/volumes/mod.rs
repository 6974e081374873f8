//! Claims get volumes: existing ones that fit, or new ones from the local provisioner, and volumes go when their claims
//! do. A claim in use by a pod and a volume in use by a claim are kept until they no longer are.

mod binder;
mod matching;
mod protection;
mod provisioner;

use crate::setup::Setup;

/// The provisioner of the default storage class: folders on the node.
pub const LOCAL_PROVISIONER: &str = "ferroflow.io/local";

/// Starts the controllers.
pub fn start(setup: &mut Setup) {
    binder::start(setup);
    protection::start(setup);
}
