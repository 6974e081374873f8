//! What one pod uses while it runs: processor and memory, every two seconds, as its node counts them. Where the person may
//! not ask nodes, the metrics API is asked instead; where there is neither, the page is told so and shows no figures.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use objects::quantity::Quantity;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::events::Failure;
use crate::identity::Person;
use crate::kubernetes;
use crate::router::Door;

/// Time between two readings.
pub const EVERY: Duration = Duration::from_secs(2);
/// Longest answer of a node that is read.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// What a pod uses at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Usage {
    /// When it was counted, in milliseconds since 1970.
    pub at_ms: i64,
    /// Processors in use since the reading before; none in the first reading.
    pub cores: Option<f64>,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
    /// Processors that its containers may use together, where all of them have a limit.
    pub cores_limit: Option<f64>,
    /// Memory that its containers may use together, bytes, where all of them have a limit.
    pub memory_limit_bytes: Option<u64>,
}

/// A count as the node has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    at: Timestamp,
    memory_bytes: u64,
    cpu: Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cpu {
    /// Processor time since the pod began, nanoseconds.
    Total(u64),
    /// Processors in use, as somebody else worked out.
    Cores(f64),
}

/// Readings of one pod.
pub struct Reader {
    namespace: String,
    pod: String,
    before: Option<Count>,
}

impl Reader {
    /// Reads this pod.
    pub fn of(namespace: &str, pod: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            before: None,
        }
    }

    /// One reading more; none while the pod has no node, or nothing was counted since the reading before.
    ///
    /// # Errors
    /// Why there are no figures.
    pub async fn read(&mut self, door: &Door, person: &Person) -> Result<Option<Usage>, Failure> {
        let path = format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.pod);
        let pod: Pod = serde_json::from_value(get(door, person, &path).await?)
            .map_err(|error| Failure(StatusCode::BAD_GATEWAY, error.to_string()))?;
        let spec = pod.spec.clone().unwrap_or_default();
        let Some(node) = spec.node_name else {
            return Ok(None);
        };
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let count = match get(door, person, &path).await {
            Ok(summary) => in_summary(&summary, &self.namespace, &self.pod),
            Err(Failure(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, _)) => {
                let path = format!(
                    "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods/{}",
                    self.namespace, self.pod
                );
                in_metrics(&get(door, person, &path).await?)
            }
            Err(failure) => return Err(failure),
        };
        let Some(count) = count else {
            return Ok(None);
        };
        if self.before.is_some_and(|before| before.at >= count.at) {
            return Ok(None);
        }
        let cores = cores(self.before, count);
        self.before = Some(count);
        let limit = |name: &str| limit(&spec.containers, name);
        Ok(Some(Usage {
            at_ms: count.at.as_millisecond(),
            cores,
            memory_bytes: count.memory_bytes,
            cores_limit: limit("cpu").map(|all| all.to_f64()),
            memory_limit_bytes: limit("memory").and_then(|all| u64::try_from(all.as_bytes()).ok()),
        }))
    }
}

/// The pod's own line in a kubelet's summary; none where nothing of it runs.
fn in_summary(summary: &Value, namespace: &str, pod: &str) -> Option<Count> {
    let found = summary["pods"]
        .as_array()?
        .iter()
        .find(|one| one["podRef"]["name"] == pod && one["podRef"]["namespace"] == namespace)?;
    if found["containers"].as_array().is_none_or(Vec::is_empty) {
        return None;
    }
    Some(Count {
        at: found["cpu"]["time"].as_str()?.parse().ok()?,
        memory_bytes: found["memory"]["workingSetBytes"].as_u64()?,
        cpu: Cpu::Total(found["cpu"]["usageCoreNanoSeconds"].as_u64()?),
    })
}

/// What the metrics API says, all containers together.
fn in_metrics(metrics: &Value) -> Option<Count> {
    let containers = metrics["containers"].as_array()?;
    let sum = |name: &str| {
        containers
            .iter()
            .filter_map(|one| Quantity::from_json(&one["usage"][name]).ok())
            .reduce(Quantity::add)
    };
    Some(Count {
        at: metrics["timestamp"].as_str()?.parse().ok()?,
        memory_bytes: u64::try_from(sum("memory")?.as_bytes()).ok()?,
        cpu: Cpu::Cores(sum("cpu")?.to_f64()),
    })
}

/// Processors in use between two counts.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more digits than a float has"
)]
fn cores(before: Option<Count>, now: Count) -> Option<f64> {
    match (before.map(|count| (count.at, count.cpu)), now.cpu) {
        (_, Cpu::Cores(cores)) => Some(cores),
        (Some((at, Cpu::Total(before))), Cpu::Total(total)) => {
            let passed = now.at.duration_since(at).as_secs_f64();
            // A container that was started anew counts from nothing.
            (passed > 0.0 && total >= before).then(|| (total - before) as f64 / 1e9 / passed)
        }
        _ => None,
    }
}

/// What all containers may use together; none where one of them may use what it likes.
fn limit(containers: &[k8s_openapi::api::core::v1::Container], name: &str) -> Option<Quantity> {
    let each = containers.iter().map(|one| {
        let limit = one.resources.as_ref()?.limits.as_ref()?.get(name)?;
        Quantity::parse(&limit.0).ok()
    });
    each.collect::<Option<Vec<_>>>()?
        .into_iter()
        .reduce(Quantity::add)
}

/// Reads as the person; the refusal is the API server's.
async fn get(door: &Door, person: &Person, path: &str) -> Result<Value, Failure> {
    let builder = Request::builder().uri(path);
    let response = kubernetes::send(door, person, builder, Vec::new())
        .await
        .unwrap_or_else(|refusal| refusal);
    let response = answered(response).await?;
    let body = axum::body::to_bytes(response.into_body(), ANSWER_LIMIT_BYTES)
        .await
        .map_err(|error| Failure(StatusCode::BAD_GATEWAY, error.to_string()))?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure(StatusCode::BAD_GATEWAY, error.to_string()))
}

async fn answered(response: Response<Body>) -> Result<Response<Body>, Failure> {
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(Failure::of(response).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a valid time")
    }

    #[test]
    fn a_pod_is_found_in_its_nodes_summary_and_one_that_does_not_run_is_not_there() {
        let line = |namespace: &str, containers: Value| {
            json!({"podRef": {"name": "a", "namespace": namespace}, "containers": containers,
                "cpu": {"time": "1970-01-01T00:00:05Z", "usageCoreNanoSeconds": 7}, "memory": {"workingSetBytes": 9}})
        };
        let summary = json!({"pods": [line("x", json!([])), line("y", json!([{"name": "main"}]))]});
        assert_eq!(in_summary(&summary, "x", "a"), None);
        assert_eq!(in_summary(&summary, "z", "a"), None);
        let count = in_summary(&summary, "y", "a").expect("it runs");
        assert_eq!(
            (count.at, count.memory_bytes, count.cpu),
            (at(5), 9, Cpu::Total(7))
        );
    }

    #[test]
    fn processors_are_counted_between_two_readings() {
        let count = |second, total| Count {
            at: at(second),
            memory_bytes: 0,
            cpu: Cpu::Total(total),
        };
        let used = cores(Some(count(10, 1_000_000_000)), count(12, 4_000_000_000));
        assert_eq!(used, Some(1.5));
        assert_eq!(cores(None, count(12, 4)), None, "one count says nothing");
        assert_eq!(
            cores(Some(count(10, 9)), count(12, 4)),
            None,
            "a container that began anew counts from nothing"
        );
    }

    #[test]
    fn the_metrics_of_all_containers_are_one_figure() {
        let metrics = json!({"timestamp": "1970-01-01T00:00:05Z", "containers": [
            {"usage": {"cpu": "250m", "memory": "1Ki"}}, {"usage": {"cpu": "1", "memory": "1Ki"}}]});
        let count = in_metrics(&metrics).expect("all is there");
        assert_eq!((count.memory_bytes, count.cpu), (2048, Cpu::Cores(1.25)));
    }

    #[test]
    fn a_limit_is_one_only_where_every_container_has_it() {
        let containers = |second: Value| -> Vec<k8s_openapi::api::core::v1::Container> {
            serde_json::from_value(json!([
                {"name": "a", "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}}},
                {"name": "b", "resources": {"limits": second}}
            ]))
            .expect("containers")
        };
        let both = containers(json!({"memory": "1Gi"}));
        assert_eq!(
            limit(&both, "memory").map(|all| all.as_bytes()),
            Some(2 << 30)
        );
        assert_eq!(limit(&both, "cpu").map(|all| all.to_f64()), None);
    }
}
