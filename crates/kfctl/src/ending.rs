//! Which pods a stop still waits for, and how that reads. A pod may take its grace period to end; nobody should have to
//! guess that this is what is being waited for.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

/// A pod that runs on while the platform stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `<namespace>/<name>`.
    pub name: String,
    /// What it may take.
    pub grace: Duration,
}

/// The pods in processes of their own that have not ended. Components end last, in no time.
pub async fn pods(client: &kube::Client) -> Result<Vec<Ending>, kube::Error> {
    let pods = Api::<Pod>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(pods.items.iter().filter_map(ending).collect())
}

fn ending(pod: &Pod) -> Option<Ending> {
    let (status, spec) = (pod.status.as_ref()?, pod.spec.as_ref()?);
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let labels = pod.metadata.labels.as_ref();
    let is_component = labels.is_some_and(|labels| {
        labels.get("app.kubernetes.io/part-of").map(String::as_str) == Some("kubeflow")
    });
    let runs = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .flatten()
        .any(|container| {
            container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        });
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    (runs && !is_over && !is_component).then(|| Ending {
        name: format!("{namespace}/{name}"),
        grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
    })
}

/// The longest that any of them may take.
pub fn longest(pods: &[Ending]) -> Duration {
    pods.iter().map(|pod| pod.grace).max().unwrap_or_default()
}

/// One line about all of them.
pub fn words(pods: &[Ending]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = pods
        .iter()
        .take(SHOWN)
        .map(|pod| pod.name.as_str())
        .collect();
    let more = match pods.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "waiting for {}{more} to end; a pod has its grace period for that, here up to {} s",
        names.join(", "),
        longest(pods).as_secs()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: serde_json::Value, phase: &str, state: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "namespace": "team", "name": "deaf", "labels": labels },
            "spec": { "containers": [], "terminationGracePeriodSeconds": 45 },
            "status": { "phase": phase, "containerStatuses": [{ "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": { state: {} } }] },
        }))
        .expect("a valid Pod")
    }

    #[test]
    fn only_what_runs_and_is_no_component_is_waited_for() {
        assert!(ending(&pod(json!({}), "Running", "running")).is_some());
        assert_eq!(ending(&pod(json!({}), "Succeeded", "running")), None);
        assert_eq!(ending(&pod(json!({}), "Running", "waiting")), None);
        let ours = json!({ "app.kubernetes.io/part-of": "kubeflow" });
        assert_eq!(ending(&pod(ours, "Running", "running")), None);
    }

    #[test]
    fn the_words_name_the_pods_and_the_longest_grace_period() {
        let pods: Vec<Ending> = (0..7)
            .map(|n| Ending {
                name: format!("a/{n}"),
                grace: Duration::from_secs(n),
            })
            .collect();
        let words = words(&pods);
        assert!(
            words.contains("a/4 and 2 more") && words.contains("up to 6 s"),
            "{words}"
        );
    }
}
