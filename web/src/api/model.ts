// What the server says, as far as the console reads it. Zero values are left out on the wire, hence the question marks.

export type State =
  | "PENDING"
  | "RUNNING"
  | "SUCCEEDED"
  | "CACHED"
  | "SKIPPED"
  | "FAILED"
  | "CANCELING"
  | "CANCELED"
  | "PAUSED";

export interface Session {
  person: { user: string; by: "owner" | "token" | "session" };
  version: string;
  namespace: string;
  parts: string[];
}

export interface Machine {
  cpus: number;
  cpu_busy_ticks: number;
  cpu_total_ticks: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
  disk_used_bytes: number;
  disk_total_bytes: number;
}

export interface StateChange {
  update_time?: string;
  state?: State;
  message?: string;
  error?: { code?: number; message?: string };
}

export interface Run {
  run_id: string;
  display_name?: string;
  description?: string;
  experiment_id?: string;
  state?: State;
  storage_state?: string;
  created_at?: string;
  scheduled_at?: string;
  finished_at?: string;
  error?: { code?: number; message?: string };
  runtime_config?: { parameters?: Record<string, unknown>; pipeline_root?: string };
  pipeline_version_reference?: { pipeline_id?: string; pipeline_version_id?: string };
  pipeline_spec?: unknown;
  state_history?: StateChange[];
  plugins_input?: Record<string, { mounts?: { hostPath: string; mountPath: string }[] }>;
  plugins_output?: Record<string, { entries?: Record<string, { value?: unknown }> }>;
  task_count?: number;
  tasks?: Task[];
}

export interface Attempt {
  number?: number;
  pod?: string;
  start_time?: string;
  end_time?: string;
  exit_code?: number;
  message?: string;
}

export interface Artifact {
  artifact_id?: string;
  name?: string;
  type?: string;
  uri?: string;
  number_value?: number;
  metadata?: Record<string, unknown>;
}

export interface Bindings {
  parameters?: { parameter_key: string; value: unknown }[];
  artifacts?: { artifact_key: string; artifacts?: Artifact[] }[];
}

export interface Task {
  task_id: string;
  name: string;
  display_name?: string;
  run_id?: string;
  state?: State;
  type?: "ROOT" | "RUNTIME" | "DAG" | "CONDITION" | "CONDITION_BRANCH" | "LOOP" | "EXIT_HANDLER" | "IMPORTER";
  type_attributes?: { iteration_index?: string; iteration_count?: string };
  parent_task_id?: string;
  scope_path?: string;
  create_time?: string;
  start_time?: string;
  end_time?: string;
  cache_fingerprint?: string;
  pods?: { name?: string; uid?: string }[];
  state_history?: StateChange[];
  status_metadata?: {
    message?: string;
    custom_properties?: {
      attempts?: Attempt[];
      cached_from?: { run_id: string; task_id: string };
      retry_at?: string;
      is_omitted?: boolean;
    };
  };
  inputs?: Bindings;
  outputs?: Bindings;
}

export interface Pipeline {
  pipeline_id: string;
  name?: string;
  display_name?: string;
  description?: string;
  created_at?: string;
}

export interface PipelineVersion {
  pipeline_id: string;
  pipeline_version_id: string;
  name?: string;
  display_name?: string;
  description?: string;
  created_at?: string;
  pipeline_spec?: unknown;
}

export interface Experiment {
  experiment_id: string;
  display_name?: string;
  description?: string;
  created_at?: string;
  last_run_created_at?: string;
  storage_state?: string;
}

export interface KubeEvent {
  metadata: { name: string; uid?: string };
  type?: string;
  reason?: string;
  message?: string;
  count?: number;
  lastTimestamp?: string;
  eventTime?: string;
  firstTimestamp?: string;
}

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
