// What a list of runs shows: as a person types it, as the server is asked for it, and as a run that just changed is judged.
import { moment, type Run, type RunState } from "./model";

export interface RunFilter {
  /** Part of the name. */
  text?: string;
  states?: RunState[];
  /** Archived runs instead of the others. */
  isArchived?: boolean;
  /** Milliseconds since 1970. */
  createdAfter?: number;
  createdBefore?: number;
  finishedAfter?: number;
  experiment?: string;
}

export interface Predicate {
  key: string;
  operation: string;
  string_value?: string;
  string_values?: { values: string[] };
  timestamp_value?: string;
}

export const LIVE: RunState[] = ["PENDING", "RUNNING", "CANCELING"];
const WORDS: Record<string, RunState[]> = {
  live: LIVE,
  running: ["RUNNING"],
  waiting: ["PENDING"],
  succeeded: ["SUCCEEDED"],
  failed: ["FAILED"],
  stopping: ["CANCELING"],
};
const UNITS: Record<string, number> = { m: 60, h: 3600, d: 86400, w: 7 * 86400 };

/** One word of the box as a filter; the reason in words when it is none. */
export function readToken(token: string, now: number): RunFilter | string {
  const mark = token.indexOf(":");
  const key = token.slice(0, mark);
  const value = token.slice(mark + 1).toLowerCase();
  switch (mark < 0 ? "" : key) {
    case "state": {
      const states = WORDS[value];
      return states ? { states } : `state: is one of ${Object.keys(WORDS).join(", ")}`;
    }
    case "is":
      return value === "archived" ? { isArchived: true } : "is: knows archived";
    case "after":
    case "before": {
      const at = readTime(value, now);
      if (at === undefined) return `${key}: takes a length of time (30m, 2d) or a date (2026-01-31)`;
      return key === "after" ? { createdAfter: at } : { createdBefore: at };
    }
    default:
      return { text: token };
  }
}

function readTime(text: string, now: number): number | undefined {
  const length = /^(\d+(?:\.\d+)?)([mhdw])$/.exec(text);
  if (length) return now - Number(length[1]) * (UNITS[length[2] ?? ""] ?? 0) * 1000;
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text.toUpperCase()) : NaN;
  return Number.isNaN(at) ? undefined : at;
}

/** Everything typed, as one filter; words without a colon are the name's. */
export function readFilter(typed: string, now: number): { filter: RunFilter; problems: string[] } {
  const filter: RunFilter = {};
  const problems: string[] = [];
  const words: string[] = [];
  for (const token of typed.split(/\s+/).filter(Boolean)) {
    const read = readToken(token, now);
    if (typeof read === "string") problems.push(read);
    else if (read.text) words.push(read.text);
    else Object.assign(filter, read);
  }
  if (words.length > 0) filter.text = words.join(" ");
  return { filter, problems };
}

/** The filter as the API takes it. */
export function predicates(filter: RunFilter): Predicate[] {
  const time = (at: number) => new Date(at).toISOString();
  const found: Predicate[] = [{ key: "storage_state", operation: "EQUALS", string_value: filter.isArchived ? "ARCHIVED" : "AVAILABLE" }];
  if (filter.text) found.push({ key: "display_name", operation: "IS_SUBSTRING", string_value: filter.text });
  if (filter.states) found.push({ key: "state", operation: "IN", string_values: { values: filter.states } });
  if (filter.createdAfter !== undefined) found.push({ key: "created_at", operation: "GREATER_THAN_EQUALS", timestamp_value: time(filter.createdAfter) });
  if (filter.createdBefore !== undefined) found.push({ key: "created_at", operation: "LESS_THAN_EQUALS", timestamp_value: time(filter.createdBefore) });
  if (filter.finishedAfter !== undefined) found.push({ key: "finished_at", operation: "GREATER_THAN_EQUALS", timestamp_value: time(filter.finishedAfter) });
  return found;
}

/** Whether the list would have this run. */
export function matches(run: Run, filter: RunFilter): boolean {
  const created = moment(run.created_at) ?? 0;
  return (
    (run.storage_state === "ARCHIVED") === (filter.isArchived ?? false) &&
    (filter.text === undefined || (run.display_name ?? "").toLowerCase().includes(filter.text.toLowerCase())) &&
    (filter.states === undefined || (run.state !== undefined && filter.states.includes(run.state))) &&
    (filter.createdAfter === undefined || created >= filter.createdAfter) &&
    (filter.createdBefore === undefined || created <= filter.createdBefore) &&
    (filter.finishedAfter === undefined || (moment(run.finished_at) ?? 0) >= filter.finishedAfter) &&
    (filter.experiment === undefined || run.experiment_id === filter.experiment)
  );
}
