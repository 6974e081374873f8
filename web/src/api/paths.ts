// The only place that builds addresses of the API and of our own pages.

const KFP = "/apis/v2beta1";
const enc = encodeURIComponent;

export const api = {
  session: "/api/session",
  machine: "/api/machine",
  logout: "/api/logout",
  events: (topics: string[]) => `/api/events?${topics.map((topic) => `topic=${enc(topic)}`).join("&")}`,
  runs: (page: string, experiment?: string) =>
    `${KFP}/runs?page_size=100&sort_by=${enc("created_at desc")}&page_token=${enc(page)}${experiment ? `&experiment_id=${enc(experiment)}` : ""}`,
  run: (id: string) => `${KFP}/runs/${enc(id)}?view=FULL`,
  createRun: `${KFP}/runs`,
  act: (id: string, verb: "terminate" | "retry" | "archive") => `${KFP}/runs/${enc(id)}:${verb}`,
  log: (run: string, task: string, attempt: number | undefined, follow: boolean) =>
    `${KFP}/runs/${enc(run)}/tasks/${enc(task)}/log?follow=${follow}${attempt === undefined ? "" : `&attempt=${attempt}`}`,
  pipelines: (page: string) => `${KFP}/pipelines?page_size=100&sort_by=${enc("created_at desc")}&page_token=${enc(page)}`,
  pipeline: (id: string) => `${KFP}/pipelines/${enc(id)}`,
  versions: (id: string) => `${KFP}/pipelines/${enc(id)}/versions?page_size=100&sort_by=${enc("created_at desc")}`,
  version: (id: string, version: string) => `${KFP}/pipelines/${enc(id)}/versions/${enc(version)}`,
  upload: (name: string) => `${KFP}/pipelines/upload?name=${enc(name)}`,
  uploadVersion: (pipeline: string, name: string) => `${KFP}/pipelines/upload_version?pipelineid=${enc(pipeline)}&name=${enc(name)}`,
  experiments: `${KFP}/experiments?page_size=100&sort_by=${enc("created_at desc")}`,
  experiment: (id: string) => `${KFP}/experiments/${enc(id)}`,
  podEvents: (namespace: string, pod: string) =>
    `k8s/api/v1/namespaces/${enc(namespace)}/events?fieldSelector=${enc(`involvedObject.name=${pod}`)}`,
};

/** Addresses of pages; the form the kfp SDK prints. */
export const page = {
  home: "#/",
  runs: "#/runs",
  run: (id: string, step?: string, tab?: string) => {
    const query = new URLSearchParams();
    if (step) query.set("step", step);
    if (tab) query.set("tab", tab);
    const text = query.toString();
    return `#/runs/details/${enc(id)}${text ? `?${text}` : ""}`;
  },
  newRun: (pipeline: string, version?: string) => `#/runs/new?pipeline=${enc(pipeline)}${version ? `&version=${enc(version)}` : ""}`,
  pipelines: "#/pipelines",
  pipeline: (id: string, version?: string) => `#/pipelines/details/${enc(id)}${version ? `/version/${enc(version)}` : ""}`,
  experiments: "#/experiments",
  experiment: (id: string) => `#/experiments/details/${enc(id)}`,
};
