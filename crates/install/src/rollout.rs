//! How far a Deployment is, from its own status and its pods': what it waits for, in words. Asked again and again, so
//! that nothing depends on a watch that breaks.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::wait::Progress;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(700);

/// Looks until every replica is the newest and available, and tells `report` of each change. Never ends by itself where
/// that does not happen: the caller has the patience.
pub async fn until_done(
    client: &Client,
    namespace: &str,
    name: &str,
    report: &(dyn Fn(Progress) + Send + Sync),
) {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut said = None;
    loop {
        let progress = match look(&deployments, &pods, name).await {
            Ok(progress) => progress,
            Err(error) => Progress::Troubled(format!("the cluster does not answer: {error}")),
        };
        if said.as_ref() != Some(&progress) {
            report(progress.clone());
        }
        if progress == Progress::Ready {
            return;
        }
        said = Some(progress);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(
    deployments: &Api<Deployment>,
    pods: &Api<Pod>,
    name: &str,
) -> Result<Progress, kube::Error> {
    let Some(deployment) = deployments.get_opt(name).await? else {
        return Ok(Progress::Waiting("its Deployment".to_owned()));
    };
    if is_done(&deployment) {
        return Ok(Progress::Ready);
    }
    let labels = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.match_labels.as_ref());
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut found = pods
        .list(&ListParams::default().labels(&selector.join(",")))
        .await?
        .items;
    found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    found.sort_by(|one, other| {
        other
            .metadata
            .creation_timestamp
            .cmp(&one.metadata.creation_timestamp)
    });
    Ok(cause(&deployment, &found))
}

/// Whether the newest replicas are all there are, and available.
fn is_done(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.replicas.unwrap_or(0) <= wanted.max(status.updated_replicas.unwrap_or(0))
        && status.available_replicas.unwrap_or(0) >= wanted
}

/// What stands in the way: the newest pod's trouble, else what the Deployment says.
fn cause(deployment: &Deployment, pods: &[Pod]) -> Progress {
    let judged = pods
        .iter()
        .map(|pod| crate::wait::judge(pod, jiff::Timestamp::UNIX_EPOCH))
        .find(|progress| *progress != Progress::Ready);
    if let Some(progress) = judged {
        return progress;
    }
    let conditions = deployment
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let refused = conditions
        .filter(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
        .find_map(|condition| condition.message.clone());
    match refused {
        Some(cause) => Progress::Troubled(cause),
        None if pods.is_empty() => Progress::Waiting("its pod to be made".to_owned()),
        None => Progress::Waiting("the old pod to end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": status,
        }))
        .expect("a Deployment")
    }

    #[test]
    fn only_the_newest_replicas_count() {
        let done = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert!(is_done(&deployment(done.clone())));
        for (field, value) in [
            ("observedGeneration", 1),
            ("updatedReplicas", 0),
            ("availableReplicas", 0),
            ("replicas", 2),
        ] {
            let mut status = done.clone();
            status[field] = value.into();
            assert!(!is_done(&deployment(status)), "{field}");
        }
    }

    #[test]
    fn a_refused_pod_is_told_in_the_words_of_who_refused_it() {
        let refused = deployment(json!({"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: violates PodSecurity"},
        ]}));
        let Progress::Troubled(words) = cause(&refused, &[]) else {
            panic!("a refusal is trouble")
        };
        assert!(words.contains("violates PodSecurity"));
        assert_eq!(
            cause(&deployment(json!({})), &[]),
            Progress::Waiting("its pod to be made".to_owned())
        );
    }
}
