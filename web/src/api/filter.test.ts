import { expect, test } from "vitest";
import { isChip, matches, predicates, readFilter, subjectOf } from "./filter";

const NOW = Date.parse("2026-03-10T12:00:00Z");

test("what is typed becomes one filter, and the server is asked for it", () => {
  const { filter, problems } = readFilter("state:failed after:2d llm training", NOW);
  expect(problems).toEqual([]);
  expect(filter).toEqual({ states: ["FAILED"], createdAfter: Date.parse("2026-03-08T12:00:00Z"), text: "llm training" });
  expect(predicates(filter).map(({ key, operation }) => `${key} ${operation}`)).toEqual([
    "storage_state EQUALS",
    "display_name IS_SUBSTRING",
    "state IN",
    "created_at GREATER_THAN_EQUALS",
  ]);
});

test("a word that means nothing is said so, and the rest still counts", () => {
  const { filter, problems } = readFilter("state:tired after:soon is:archived", NOW);
  expect(problems).toHaveLength(2);
  expect(problems[0]).toContain("succeeded");
  expect(filter).toEqual({ isArchived: true });
});

test("a run that changed is judged as the server would", () => {
  const run = { run_id: "a", display_name: "LLM 7", state: "RUNNING", storage_state: "AVAILABLE", created_at: "2026-03-10T11:00:00Z" } as const;
  expect(matches(run, {})).toBe(true);
  expect(matches(run, { isArchived: true })).toBe(false);
  expect(matches(run, { text: "llm", states: ["RUNNING"], createdAfter: NOW - 7_200_000 })).toBe(true);
  expect(matches(run, { states: ["FAILED"] })).toBe(false);
  expect(matches(run, { createdAfter: NOW - 60_000 })).toBe(false);
  expect(matches(run, { finishedAfter: 0 })).toBe(true);
  expect(matches(run, { experiment: "other" })).toBe(false);
});

test("parameters and metrics are compared, each as often as one likes", () => {
  const { filter, problems } = readFilter("param.lr>0.01 param.lr<=0.1 metric.accuracy!=1 param.model=small", NOW);
  expect(problems).toEqual([]);
  expect(predicates(filter).slice(1)).toEqual([
    { key: "parameters.lr", operation: "GREATER_THAN", string_value: "0.01" },
    { key: "parameters.lr", operation: "LESS_THAN_EQUALS", string_value: "0.1" },
    { key: "metrics.accuracy", operation: "NOT_EQUALS", string_value: "1" },
    { key: "parameters.model", operation: "EQUALS", string_value: "small" },
  ]);
  expect(["param.lr>0.01", "state:failed", "param.lr>", "param.lr", "report"].map(isChip)).toEqual([true, true, false, false, false]);
  expect(subjectOf("state:failed")).toBe(subjectOf("state:live"));
  expect(subjectOf("param.lr>0.01")).not.toBe(subjectOf("param.lr<0.1"));
});

test("a comparison that cannot be made is said so", () => {
  for (const typed of ["param.>1", "param.lr>", "param.lr>high", 'param.a"b=1']) expect(readFilter(typed, NOW).problems).toHaveLength(1);
});

test("a run that changed is compared as the server would", () => {
  const run = { run_id: "a", state: "RUNNING", storage_state: "AVAILABLE", created_at: "2026-03-10T11:00:00Z", runtime_config: { parameters: { lr: 0.05, size: "2", deep: true } }, plugins_output: { "ferroflow.io/metrics": { entries: { accuracy: { value: 0.9 } } } } } as const;
  const has = (typed: string) => matches(run, readFilter(typed, NOW).filter);
  for (const typed of ["param.lr>0.01", "param.lr=0.050", "param.size=2", "param.deep=true", "metric.accuracy>=0.9", "param.none!=1"]) expect([typed, has(typed)]).toEqual([typed, true]);
  for (const typed of ["param.lr>0.05", "param.size>1", "param.none=1", "param.none<1", "metric.accuracy<0.9", "param.deep=1.5"]) expect([typed, has(typed)]).toEqual([typed, false]);
});
