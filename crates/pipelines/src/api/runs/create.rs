//! `POST /runs`: everything is checked before anything is stored; the engine takes it from the stored row.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use rand::RngExt as _;
use serde_json::{Map, Value};

use super::{answer, view};
use crate::api::{Api, ApiError, Caller, Shared, check_length, json, new_id, ready_json};
use crate::engine::step;
use crate::ir::{Document, Pipeline, parameter};
use crate::run::{Run, RunState, RunStateChange};
use crate::store;

const FIELDS: [&str; 22] = [
    "experiment_id",
    "run_id",
    "display_name",
    "storage_state",
    "description",
    "pipeline_version_id",
    "pipeline_spec",
    "pipeline_version_reference",
    "pipeline_reference",
    "runtime_config",
    "service_account",
    "created_at",
    "scheduled_at",
    "finished_at",
    "state",
    "error",
    "run_details",
    "recurring_run_id",
    "state_history",
    "plugins_input",
    "plugins_output",
    "task_count",
];

/// Where a run's document comes from.
enum Source {
    Inline(Document),
    Reference {
        pipeline_id: String,
        version_id: String,
    },
}

/// Accepts a run.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "create", "runs").await?;
    let fields = json::fields(&body, &FIELDS)?;
    let display_name = json::text(&fields, "display_name")?;
    check_length("display_name", &display_name, 255)?;
    if fields
        .get("plugins_output")
        .is_some_and(|output| output.as_object().is_none_or(|output| !output.is_empty()))
    {
        return Err(ApiError::invalid(
            "plugins_output is set by the server only",
        ));
    }
    let config = json::known_fields(
        fields
            .get("runtime_config")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new())),
        &["parameters", "pipeline_root"],
        "runtime_config",
    )?;
    let parameters = match config.get("parameters") {
        None => Map::new(),
        Some(Value::Object(parameters)) => parameters.clone(),
        Some(_) => {
            return Err(ApiError::invalid(
                "runtime_config.parameters must be a mapping",
            ));
        }
    };
    let plugins_input = match fields.get("plugins_input") {
        None => Map::new(),
        Some(Value::Object(plugins)) => plugins.clone(),
        Some(_) => return Err(ApiError::invalid("plugins_input must be a mapping")),
    };
    let host_mounts = step::host_mounts(&plugins_input).map_err(ApiError::invalid)?;
    let service_account = json::text(&fields, "service_account")?;
    if !host_mounts.is_empty()
        || !["", api.service_account.as_str()].contains(&service_account.as_str())
    {
        // Steps with another identity, or with folders of the host, are as much as pods of one's own.
        api.authorise_pods(&caller).await?;
    }
    let (pipeline, pipeline_id, pipeline_version_id) = read_source(&api, source(&fields)?).await?;
    let parameters = parameter::check_run(pipeline.parameters(), &parameters)?;
    let pipeline_root = json::text(&config, "pipeline_root")?;
    check_root(&api, [&pipeline_root, &pipeline.spec.default_pipeline_root])?;
    let now = Timestamp::now();
    let mut run = Run {
        id: new_id(),
        namespace: String::new(),
        experiment_id: json::text(&fields, "experiment_id")?,
        display_name,
        description: json::text(&fields, "description")?,
        is_archived: false,
        state: RunState::Pending,
        state_history: vec![RunStateChange {
            state: RunState::Pending,
            at: now,
            error: None,
        }],
        error: None,
        created_at: now,
        scheduled_at: now,
        finished_at: None,
        pipeline_id,
        pipeline_version_id,
        spec_hash: String::new(),
        parameters,
        pipeline_root,
        service_account,
        plugins_input,
        resource_name: format!("{}-{}", pipeline.spec.pipeline_info.name, random_suffix()),
        shared_paths: Vec::new(),
    };
    let document = pipeline.document;
    let (run, text) = api
        .store
        .write(move |tx| {
            run.spec_hash = store::spec::put(tx, &document)?;
            let experiment = if run.experiment_id.is_empty() {
                store::experiment::default(tx, "", now)?
            } else {
                store::experiment::get(tx, &run.experiment_id)?
            };
            if experiment.is_archived {
                return Err(store::Error::Precondition(format!(
                    "experiment {} is archived: unarchive it first",
                    experiment.id
                )));
            }
            run.experiment_id = experiment.id;
            store::run::insert(tx, &run)?;
            let text = answer(tx, &run, view(&run, None))?;
            Ok((run, text))
        })
        .await?;
    tracing::info!(run.id = %run.id, run.name = %run.display_name, "run {} accepted", run.id);
    api.engine.submit(&run);
    Ok(ready_json(text))
}

/// Exactly one of the three ways to say what to run.
fn source(fields: &Map<String, Value>) -> Result<Source, ApiError> {
    let version_id = json::text(fields, "pipeline_version_id")?;
    let reference = fields
        .get("pipeline_version_reference")
        .map(|reference| {
            json::known_fields(
                reference.clone(),
                &["pipeline_id", "pipeline_version_id"],
                "pipeline_version_reference",
            )
        })
        .transpose()?;
    let spec = fields
        .get("pipeline_spec")
        .filter(|spec| spec.as_object().is_none_or(|spec| !spec.is_empty()));
    match (spec, reference, version_id.as_str()) {
        (Some(spec), None, "") => Ok(Source::Inline(Document::from_api(spec.clone())?)),
        (None, Some(reference), "") => Ok(Source::Reference {
            pipeline_id: json::text(&reference, "pipeline_id")?,
            version_id: json::text(&reference, "pipeline_version_id")?,
        }),
        (None, None, version_id) if !version_id.is_empty() => Ok(Source::Reference {
            pipeline_id: String::new(),
            version_id: version_id.to_owned(),
        }),
        _ => Err(ApiError::invalid(
            "give exactly one of pipeline_spec, pipeline_version_reference and pipeline_version_id",
        )),
    }
}

async fn read_source(api: &Api, source: Source) -> Result<(Pipeline, String, String), ApiError> {
    match source {
        Source::Inline(document) => Ok((
            Pipeline::from_document(document)?,
            String::new(),
            String::new(),
        )),
        Source::Reference {
            pipeline_id,
            version_id,
        } => {
            let (version, document) = api
                .store
                .read(move |db| {
                    let version = if version_id.is_empty() {
                        store::version::latest(db, &pipeline_id)?
                    } else {
                        store::version::get(db, &version_id)?
                    };
                    let document = store::spec::get(db, &version.spec_hash)?;
                    Ok((version, document))
                })
                .await?;
            Ok((
                Pipeline::from_document(document)?,
                version.pipeline_id,
                version.id,
            ))
        }
    }
}

/// Artifacts must go where this installation can keep them.
fn check_root(api: &Api, roots: [&String; 2]) -> Result<(), ApiError> {
    match roots.into_iter().find(|root| !root.is_empty()) {
        Some(root) if root.contains("://") && !api.stores.holds(root) => {
            Err(ApiError::invalid(format!(
                "pipeline root {root} lies in a store that is not configured here; leave pipeline_root out, or use one below {}",
                api.stores.first()
            )))
        }
        Some(root) if !root.contains("://") => Err(ApiError::invalid(format!(
            "pipeline root {root:?} is not a URI; leave pipeline_root out, or use one below {}",
            api.stores.first()
        ))),
        Some(root) if root.contains("..") => Err(ApiError::invalid(format!(
            "pipeline root {root} may not contain '..'"
        ))),
        _ => Ok(()),
    }
}

fn random_suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}
