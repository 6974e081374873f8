// What the servers say, by the names that the pages use. The shapes are generated from the servers' own schemas; zero values are
// left out on the wire, hence all the optional fields.
import type { components as Console } from "./generated/console";
import type { components as Document } from "./generated/document";
import type { components as Kubernetes } from "./generated/kubernetes";
import type { components as Pipelines } from "./generated/pipelines";

export type Session = Console["schemas"]["Session"];
export type Absent = Console["schemas"]["Part"];
export type Machine = Console["schemas"]["Machine"];
export type Reading = Console["schemas"]["Reading"];
export type Usage = Console["schemas"]["Usage"];

/** The pipeline document (IR). */
export type PipelineSpec = Document["schemas"]["PipelineSpec"];

export type Run = Pipelines["schemas"]["Run"];
export type RunList = Pipelines["schemas"]["RunList"];
export type Task = Pipelines["schemas"]["Task"];
export type Bindings = Pipelines["schemas"]["Bindings"];
export type Pipeline = Pipelines["schemas"]["Pipeline"];
export type PipelineList = Pipelines["schemas"]["PipelineList"];
export type PipelineVersion = Pipelines["schemas"]["PipelineVersion"];
export type PipelineVersionList = Pipelines["schemas"]["PipelineVersionList"];
export type Experiment = Pipelines["schemas"]["Experiment"];
export type ExperimentList = Pipelines["schemas"]["ExperimentList"];
export type RunState = Pipelines["schemas"]["RunState"];
export type State = RunState | Pipelines["schemas"]["TaskState"];

export type KubeEvent = Kubernetes["schemas"]["io.k8s.api.core.v1.Event"];
export type Namespace = Kubernetes["schemas"]["io.k8s.api.core.v1.Namespace"];
export type Node = Kubernetes["schemas"]["io.k8s.api.core.v1.Node"];
export type Pod = Kubernetes["schemas"]["io.k8s.api.core.v1.Pod"];

/** A run or step to which nothing more happens. */
export function isOver(state: State | undefined): boolean {
  return state === "SUCCEEDED" || state === "CACHED" || state === "SKIPPED" || state === "FAILED" || state === "CANCELED";
}

/** A time, unless it is absent: the wire writes 1970 for "not yet". */
export function moment(text: string | undefined): number | undefined {
  if (!text || text.startsWith("1970-01-01T00:00:00")) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}

/** When the step's command began, as well as is known. */
export function began(task: Task): number | undefined {
  const attempts = task.status_metadata?.custom_properties?.attempts ?? [];
  for (const attempt of attempts) {
    const at = moment(attempt.start_time);
    if (at !== undefined) return at;
  }
  return task.state === "PENDING" || task.state === "SKIPPED" ? undefined : moment(task.start_time);
}

/** Steps that run containers or bring something in; graphs and loops around them are no steps of their own. */
export function isStep(task: Task): boolean {
  return task.type === "RUNTIME" || task.type === "IMPORTER";
}

/** When a Kubernetes event was seen last. */
export function seenAt(event: KubeEvent): number | undefined {
  return moment(event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp ?? event.metadata?.creationTimestamp);
}

/** What the steps of a run reported as metrics. */
export function metricsOf(run: Run): Record<string, unknown> {
  const entries = run.plugins_output?.["ferroflow.io/metrics"]?.entries ?? {};
  return Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, entry.value]));
}
