//! Writes down the rules of ClusterRoles that are made of others, for people who read them. Whether
//! somebody may do something never waits for this: the index over roles aggregates by itself.

use std::sync::Arc;

use objects::meta;
use serde_json::Value;

use crate::api::Api;
use crate::authn::User;
use crate::authz::{RBAC_GROUP, aggregated_rules};
use crate::bootstrap;
use crate::error::ApiError;
use crate::lookup::Lookup;
use crate::verbs::update;
use crate::verbs::write::Manager;

const NAME: &str = "clusterrole-aggregation-controller";

/// Follows changes of ClusterRoles until the server stops.
pub async fn run(api: Arc<Api>) {
    loop {
        tokio::select! {
            () = api.cluster_roles_changed.notified() => settle(&api).await,
            () = api.shutdown.cancelled() => return,
        }
    }
}

/// Writes down what is not yet so; aggregation goes through roles that aggregate, so once is enough.
pub async fn settle(api: &Arc<Api>) {
    for (role, rules) in stale(api) {
        // What fails for a race is seen again: the other write wakes us too.
        if let Err(err) = write_down(api, &role, rules).await {
            tracing::warn!(object.kind = "ClusterRole", object.name = meta::name(&role), error = %err, "aggregating");
        }
    }
}

/// The roles whose written rules are not those they are made of.
fn stale(api: &Api) -> Vec<(Arc<Value>, Vec<Value>)> {
    let roles = api.lookup().list(RBAC_GROUP, "clusterroles", "");
    let is_stale = |role: &Arc<Value>| {
        let rules = aggregated_rules(role, roles.iter().map(AsRef::as_ref))?;
        let written = role["rules"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        (written != rules).then(|| (role.clone(), rules))
    };
    roles.iter().filter_map(is_stale).collect()
}

async fn write_down(api: &Arc<Api>, role: &Value, rules: Vec<Value>) -> Result<(), ApiError> {
    let mut call = bootstrap::call(api, RBAC_GROUP, "clusterroles", role);
    call.user = User::service_account("kube-system", NAME);
    call.verb = "update";
    call.name = meta::name(role).to_owned();
    let manager = Manager::Writer(NAME.into());
    update::change(&call, &manager, |present| {
        let mut wanted = present.clone();
        wanted["rules"] = rules.clone().into();
        Ok(wanted)
    })
    .await
    .map(|_| ())
}
