//! The records of the built-in table, with the collections their objects are stored in.

use std::sync::{Arc, OnceLock};

use super::builtin::{BUILTINS, Builtin, CREATE};
use super::{Origin, Resource};
use crate::store::Store;
use crate::table::Columns;

const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The records of all built-in kinds, with their collections.
pub async fn builtin(store: &Store) -> Result<Vec<Arc<Resource>>, crate::store::Error> {
    let stored: Vec<&Builtin> = BUILTINS.iter().filter(|builtin| builtin.stored).collect();
    let names: Vec<(String, String)> = stored
        .iter()
        .map(|builtin| (builtin.storage().0.to_owned(), builtin.plural.to_owned()))
        .collect();
    let mut collections = store.collections(&names).await?.into_iter();
    Ok(BUILTINS
        .iter()
        .map(|builtin| {
            let collection = if builtin.stored {
                collections.next()
            } else {
                None
            };
            let (_, storage, conversion) = builtin.storage();
            let rules = crate::kinds::strategy(builtin.group, builtin.kind);
            Arc::new(Resource {
                group: builtin.group.into(),
                version: builtin.version.into(),
                kind: builtin.kind.into(),
                list_kind: format!("{}List", builtin.kind),
                plural: builtin.plural.into(),
                singular: builtin.kind.to_lowercase(),
                short_names: builtin
                    .short_names
                    .iter()
                    .map(|name| (*name).into())
                    .collect(),
                categories: builtin
                    .categories
                    .iter()
                    .map(|name| (*name).into())
                    .collect(),
                namespaced: builtin.namespaced,
                verbs: if builtin.stored { ALL_VERBS } else { CREATE },
                subresources: builtin.subresources(),
                collection,
                storage,
                conversion,
                columns: crate::table::of_builtin(builtin.group, builtin.kind)
                    .map_or(Columns::Default, Columns::Builtin),
                deprecation: (builtin.kind == "Endpoints").then(|| {
                    "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into()
                }),
                origin: Origin::Builtin(builtin),
                selectable: rules
                    .selectable_field_names()
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect(),
                caches_fields: true,
                schema: OnceLock::new(),
                blank: OnceLock::new(),
                stored_head: OnceLock::new(),
            })
        })
        .collect())
}
