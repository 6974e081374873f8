import { expect, test } from "vitest";
import { matches, predicates, readFilter } from "./filter";

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
