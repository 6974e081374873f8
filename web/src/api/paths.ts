// The only place that builds addresses of the API and of our own pages.
import { predicates, type RunFilter } from "./filter";

const KFP = "/apis/v2beta1";
const K8S = "/api/k8s";
const enc = encodeURIComponent;

/** Runs per page of a list; the API gives at most 200. */
const PAGE = 100;

function query(values: Record<string, string | number | boolean | undefined>): string {
  const parts = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return parts.map(([key, value]) => `${key}=${enc(String(value))}`).join("&");
}

function named(text: string): string | undefined {
  return text ? JSON.stringify({ predicates: [{ key: "display_name", operation: "IS_SUBSTRING", string_value: text }] }) : undefined;
}

export const api = {
  session: "/api/session",
  logout: "/api/logout",
  events: (topics: string[]) => `/api/events?${topics.map((topic) => `topic=${enc(topic)}`).join("&")}`,
  runs: (token: string, filter: RunFilter, sort: string, size = PAGE) =>
    `${KFP}/runs?${query({ page_size: size, sort_by: sort, page_token: token, experiment_id: filter.experiment, filter: JSON.stringify({ predicates: predicates(filter) }) })}`,
  /** Runs that ended well, of one pipeline, or of an experiment where the run brought its document itself. */
  runsLike: (experiment: string, pipeline: string | undefined) => {
    const found = [{ key: "state", operation: "EQUALS", string_value: "SUCCEEDED" }, ...(pipeline ? [{ key: "pipeline_id", operation: "EQUALS", string_value: pipeline }] : [])];
    return `${KFP}/runs?${query({ page_size: 20, sort_by: "created_at desc", experiment_id: experiment, filter: JSON.stringify({ predicates: found }) })}`;
  },
  run: (id: string) => `${KFP}/runs/${enc(id)}?view=FULL`,
  oneRun: (id: string) => `${KFP}/runs/${enc(id)}`,
  createRun: `${KFP}/runs`,
  act: (id: string, verb: "terminate" | "retry" | "archive" | "unarchive") => `${KFP}/runs/${enc(id)}:${verb}`,
  log: (run: string, task: string, options: { attempt?: number; follow?: boolean; timestamps?: boolean }) =>
    `${KFP}/runs/${enc(run)}/tasks/${enc(task)}/log?${query({ follow: options.follow ?? false, timestamps: options.timestamps ?? false, attempt: options.attempt })}`,
  artifact: (uri: string) => {
    const [, source, bucket, key] = /^(\w+):\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
    return source && bucket && key ? `/artifacts/get?${query({ source, bucket, key })}` : undefined;
  },
  pipelines: (token: string, text: string, sort: string, size = PAGE) => `${KFP}/pipelines?${query({ page_size: size, sort_by: sort, page_token: token, filter: named(text) })}`,
  pipeline: (id: string) => `${KFP}/pipelines/${enc(id)}`,
  versions: (id: string) => `${KFP}/pipelines/${enc(id)}/versions?${query({ page_size: 100, sort_by: "created_at desc" })}`,
  version: (id: string, version: string) => `${KFP}/pipelines/${enc(id)}/versions/${enc(version)}`,
  upload: (name: string) => `${KFP}/pipelines/upload?${query({ name })}`,
  uploadVersion: (pipeline: string, name: string) => `${KFP}/pipelines/upload_version?${query({ pipelineid: pipeline, name })}`,
  deletePipeline: (id: string) => `${KFP}/pipelines/${enc(id)}?cascade=true`,
  experiments: (token: string, text: string, sort: string) => `${KFP}/experiments?${query({ page_size: PAGE, sort_by: sort, page_token: token, filter: named(text) })}`,
  experiment: (id: string) => `${KFP}/experiments/${enc(id)}`,
  pod: (namespace: string, pod: string) => `${K8S}/api/v1/namespaces/${enc(namespace)}/pods/${enc(pod)}`,
  podLog: (namespace: string, pod: string, container: string, follow: boolean) =>
    `${K8S}/api/v1/namespaces/${enc(namespace)}/pods/${enc(pod)}/log?${query({ container, follow, timestamps: true })}`,
};

/** What the event stream can be asked to follow. */
export const topic = {
  runs: "runs",
  machine: "machine",
  run: (id: string) => `run/${id}`,
  namespaces: "k8s/api/v1/namespaces",
  nodes: "k8s/api/v1/nodes",
  pods: (namespace: string) => `k8s/api/v1/namespaces/${enc(namespace)}/pods`,
  pod: (namespace: string, name: string) => `${topic.pods(namespace)}?${query({ fieldSelector: `metadata.name=${name}` })}`,
  usage: (namespace: string, pod: string) => `usage/${namespace}/${pod}`,
  podEvents: (namespace: string, pod: string) => `k8s/api/v1/namespaces/${enc(namespace)}/events?${query({ fieldSelector: `involvedObject.name=${pod}` })}`,
};

/** Addresses of pages; the form the kfp SDK prints. */
export const page = {
  home: "#/",
  runs: "#/runs",
  runsBy: (filter: string) => `#/runs?${query({ filter })}`,
  run: (id: string, step?: string, tab?: string) => {
    const rest = query({ step, tab });
    return `#/runs/details/${enc(id)}${rest ? `?${rest}` : ""}`;
  },
  newRun: (pipeline: string, version?: string) => `#/runs/new?${query({ pipeline, version })}`,
  cloneRun: (run: string) => `#/runs/new?${query({ from: run })}`,
  /** The same run, with more memory for one of its steps. */
  raiseMemory: (run: string, step: string) => `#/runs/new?${query({ from: run, memory: step })}`,
  pipelines: "#/pipelines",
  pipeline: (id: string, version?: string) => `#/pipelines/details/${enc(id)}${version ? `/version/${enc(version)}` : ""}`,
  experiments: "#/experiments",
  experiment: (id: string) => `#/experiments/details/${enc(id)}`,
  pods: (namespace: string) => `#/pods?${query({ ns: namespace })}`,
  pod: (namespace: string, name: string) => `#/pods/${enc(namespace)}/${enc(name)}`,
};
