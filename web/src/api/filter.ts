// What a list of runs shows: as a person types it, as the server is asked for it, and as a run that just changed is judged.
import { t } from "../strings";
import { metricsOf, moment, type Run, type RunState } from "./model";

/** How a parameter or metric is compared, as typed and as the API calls it. */
const COMPARISONS = { ">=": "GREATER_THAN_EQUALS", "<=": "LESS_THAN_EQUALS", "!=": "NOT_EQUALS", ">": "GREATER_THAN", "<": "LESS_THAN", "=": "EQUALS" } as const;
type Comparison = keyof typeof COMPARISONS;

/** A comparison of one parameter or metric. */
export interface ValueFilter {
  of: "param" | "metric";
  name: string;
  comparison: Comparison;
  value: string;
}

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
  values?: ValueFilter[];
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
const VALUE = /^(param|metric)\.([^<>=!]*)(>=|<=|!=|>|<|=)(.*)$/s;

/** A word that means something by itself, rather than being part of a name. */
export function isChip(word: string): boolean {
  return /^[a-z]+:\S+$/.test(word) || (VALUE.exec(word)?.[4] ?? "") !== "";
}

/** What a chip is about: of some there may be only one. */
export function subjectOf(chip: string): string {
  return VALUE.test(chip) ? chip : (chip.split(":")[0] ?? chip);
}

/** One word of the box as a filter; the reason in words when it is none. */
export function readToken(token: string, now: number): RunFilter | string {
  const value = VALUE.exec(token);
  if (value) return readValue(value[1] as ValueFilter["of"], value[2] ?? "", value[3] as Comparison, value[4] ?? "");
  const mark = token.indexOf(":");
  const key = token.slice(0, mark);
  const word = token.slice(mark + 1).toLowerCase();
  switch (mark < 0 ? "" : key) {
    case "state": {
      const states = WORDS[word];
      return states ? { states } : t.filter.stateIsOneOf(Object.keys(WORDS));
    }
    case "is":
      return word === "archived" ? { isArchived: true } : t.filter.isKnows;
    case "after":
    case "before": {
      const at = readTime(word, now);
      if (at === undefined) return t.filter.time(key);
      return key === "after" ? { createdAfter: at } : { createdBefore: at };
    }
    default:
      return { text: token };
  }
}

function readValue(of: ValueFilter["of"], name: string, comparison: Comparison, value: string): RunFilter | string {
  if (name === "" || value === "") return t.filter.nameMissing;
  if (/["\\]/.test(name)) return t.filter.quoted(name);
  if (/[<>]/.test(comparison) && !isNumber(value)) return t.filter.number(`${of}.${name}`);
  return { values: [{ of, name, comparison, value }] };
}

function isNumber(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

function readTime(text: string, now: number): number | undefined {
  const length = /^(\d+(?:\.\d+)?)([mhdw])$/.exec(text);
  if (length) return now - Number(length[1]) * (UNITS[length[2] ?? ""] ?? 0) * 1000;
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text.toUpperCase()) : NaN;
  return Number.isNaN(at) ? undefined : at;
}

/** Everything typed, as one filter; words that are no chips are the name's. */
export function readFilter(typed: string, now: number): { filter: RunFilter; problems: string[] } {
  const filter: RunFilter = {};
  const problems: string[] = [];
  const words: string[] = [];
  for (const token of typed.split(/\s+/).filter(Boolean)) {
    const read = readToken(token, now);
    if (typeof read === "string") problems.push(read);
    else if (read.text) words.push(read.text);
    else if (read.values) filter.values = [...(filter.values ?? []), ...read.values];
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
  for (const { of, name, comparison, value } of filter.values ?? []) found.push({ key: `${of === "param" ? "parameters" : "metrics"}.${name}`, operation: COMPARISONS[comparison], string_value: value });
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
    (filter.experiment === undefined || run.experiment_id === filter.experiment) &&
    (filter.values ?? []).every((one) => fits(one.of === "param" ? run.runtime_config?.parameters?.[one.name] : metricsOf(run)[one.name], one))
  );
}

/** As the server compares: as numbers where both are, else as texts. */
function fits(found: unknown, { comparison, value }: ValueFilter): boolean {
  const number = typeof found === "boolean" ? Number(found) : found;
  const wanted = value === "true" ? 1 : value === "false" ? 0 : isNumber(value) ? Number(value) : undefined;
  const isEqual = (typeof number === "number" && number === wanted) || (found !== undefined && found !== null && String(found) === value);
  if (comparison === "=") return isEqual;
  if (comparison === "!=") return !isEqual;
  if (typeof number !== "number" || wanted === undefined) return false;
  return { ">": number > wanted, ">=": number >= wanted, "<": number < wanted, "<=": number <= wanted }[comparison];
}
