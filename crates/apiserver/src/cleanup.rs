//! The end of a CRD: its objects are deleted, and when the last is gone the definition is let go.

use std::sync::Arc;
use std::time::Duration;

use objects::meta;

use crate::api::Api;
use crate::error::ApiError;
use crate::registry::crd::{CLEANUP, GROUP};
use crate::store::snapshot::range;
use crate::store::{Decision, Encoded};
use crate::verbs::write::is_released;

/// Deletes the objects of a definition and waits for the last of them.
pub async fn run(api: &Arc<Api>, name: &str) -> Result<(), ApiError> {
    let definitions = api.builtin(GROUP, "customresourcedefinitions").clone();
    let registry = api.registry.load_full();
    let Some(crd) =
        crate::lookup::Lookup::get(&api.lookup(), GROUP, "customresourcedefinitions", "", name)
    else {
        return Ok(());
    };
    let (group, plural) = (
        crd["spec"]["group"].as_str().unwrap_or_default(),
        crd["spec"]["names"]["plural"].as_str(),
    );
    if let Some(resource) = registry
        .find_any(group, plural.unwrap_or_default())
        .cloned()
    {
        let collection = resource.stored().clone();
        let mut changes = collection.ring.subscribe();
        loop {
            changes.borrow_and_update();
            let snapshot = api.store.snapshot();
            let keys: Vec<_> = range(snapshot.map(collection.id), "", "")
                .map(|(key, _)| key.clone())
                .collect();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let deleted = api
                    .store
                    .update::<ApiError>(&collection, &key, |entry| {
                        let old = entry.value();
                        if meta::is_being_deleted(&old) {
                            return Ok(Decision::Keep);
                        }
                        let mut new = old;
                        meta::set(&mut new, "deletionTimestamp", crate::verbs::write::now());
                        meta::set(&mut new, "deletionGracePeriodSeconds", 0);
                        Ok(if is_released(&resource, &new) {
                            Decision::Remove
                        } else {
                            Decision::Replace(Encoded::of(new))
                        })
                    })
                    .await;
                if let Err(err) = deleted
                    && err.code != 404
                {
                    return Err(err);
                }
            }
            tokio::select! {
                () = api.shutdown.cancelled() => return Ok(()),
                _ = changes.changed() => {}
                // A finalizer that never goes keeps the definition; look again now and then.
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
        }
    }
    let released = api
        .store
        .update::<ApiError>(definitions.stored(), name, |entry| {
            let mut new = entry.value();
            meta::remove_finalizer(&mut new, CLEANUP);
            Ok(if is_released(&definitions, &new) {
                Decision::Remove
            } else {
                Decision::Replace(Encoded::of(new))
            })
        })
        .await;
    match released {
        Err(err) if err.code != 404 => return Err(err),
        _ => {}
    }
    api.reload_registry().await
}
