//! Whether the cluster's policies would let our pods in, and on whose webhooks every pod depends.

use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;

use super::{Finding, Verdict, list, some};

/// Whether our pods would be let in: each is tried, and none is made.
pub async fn check(client: &Client, objects: &[Value]) -> Vec<Finding> {
    const CHECK: &str = "admission of our pods";
    let mut refused = Vec::new();
    for object in objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let is_there = Api::<Namespace>::all(client.clone())
            .get_opt(namespace)
            .await
            .is_ok_and(|found| found.is_some());
        // Elsewhere other rules may hold, and yet it is the best that can be known before.
        let place = if is_there { namespace } else { "default" };
        let mut spec = object["spec"]["template"]["spec"].clone();
        if !is_there && let Some(spec) = spec.as_object_mut() {
            spec.remove("serviceAccountName");
        }
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "generateName": "kfctl-check-", "labels": object["spec"]["template"]["metadata"]["labels"] },
            "spec": spec,
        });
        let Ok(pod) = serde_json::from_value::<Pod>(pod) else {
            continue;
        };
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match Api::<Pod>::namespaced(client.clone(), place)
            .create(&parameters, &pod)
            .await
        {
            Ok(_) => {}
            // The account comes with the installation.
            Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => {}
            Err(kube::Error::Api(status)) => {
                refused.push(format!("{name} in {place}: {}", status.message));
            }
            Err(error) => refused.push(format!("{name} in {place}: {error}")),
        }
    }
    let mut findings = vec![if refused.is_empty() {
        Finding::ok(CHECK, "allowed")
    } else {
        Finding::new(
            CHECK,
            Verdict::Failure,
            refused.join("; "),
            "exempt the namespaces kubeflow and istio-system from the policy that refuses, or allow the image there",
        )
    }];
    findings.extend(webhooks(client).await);
    findings
}

/// Webhooks that have a say about every pod, and whose absence would stop ours.
async fn webhooks(client: &Client) -> Option<Finding> {
    const CHECK: &str = "admission webhooks";
    let all = list::<ValidatingWebhookConfiguration>(client).await.ok()?;
    let strict: Vec<String> = all
        .iter()
        .flat_map(|configuration| configuration.webhooks.iter().flatten())
        .filter(|webhook| webhook.failure_policy.as_deref() != Some("Ignore"))
        .filter(|webhook| webhook.rules.iter().flatten().any(is_about_pods))
        .map(|webhook| webhook.name.clone())
        .collect();
    (!strict.is_empty()).then(|| {
        Finding::new(
            CHECK,
            Verdict::Warning,
            format!("every pod depends on {}", some(&strict)),
            "if pods are not made, see whether that webhook answers",
        )
    })
}

fn is_about_pods(rule: &RuleWithOperations) -> bool {
    rule.resources
        .iter()
        .flatten()
        .any(|resource| ["pods", "*", "*/*"].contains(&resource.as_str()))
        && rule
            .api_groups
            .iter()
            .flatten()
            .any(|group| group.is_empty() || group == "*")
}
