//! ServiceAccounts have no rules of their own in Kubernetes v1.33; the file marks the place.

use super::Strategy;

pub(super) struct ServiceAccount;

impl Strategy for ServiceAccount {}
