import { expect, test } from "vitest";
import type { Task } from "../api/model";
import { expected, lengths } from "./estimate";

const NOW = Date.parse("2026-03-10T12:00:00Z");
const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString();
const task = (name: string, more: Partial<Task>): Task => ({ task_id: name, name, scope_path: `root.${name}`, type: "RUNTIME", ...more });

const BEFORE = new Map([
  ["root.a", []],
  ["root.b", ["root.a"]],
  ["root.c", ["root.b"]],
]);

test("a step that waits is expected after those before it, as long as it took the last time", () => {
  const last = lengths([
    task("a", { state: "SUCCEEDED", start_time: at(-100), end_time: at(-90) }),
    task("b", { state: "SUCCEEDED", start_time: at(-90), end_time: at(-60) }),
    task("c", { state: "SUCCEEDED", start_time: at(-60), end_time: at(-58) }),
  ]);
  expect([...last.values()]).toEqual([10_000, 30_000, 2000]);
  const now = [task("a", { state: "SUCCEEDED", start_time: at(-15), end_time: at(-5) }), task("b", { state: "RUNNING", start_time: at(-5) }), task("c", { state: "PENDING" })];
  const found = expected(now, BEFORE, last, NOW);
  expect(found.get("a")).toBeUndefined();
  expect(found.get("b")).toEqual({ from: NOW, to: NOW + 25_000 });
  expect(found.get("c")).toEqual({ from: NOW + 25_000, to: NOW + 27_000 });
});

test("a step that takes longer than the last time is expected to end now, and an unknown one is not guessed", () => {
  const last = new Map([["root.b", 3000]]);
  const now = [task("b", { state: "RUNNING", start_time: at(-5) }), task("c", { state: "PENDING" })];
  expect(expected(now, BEFORE, last, NOW).size).toBe(0);
});

test("a failure and a cached result say nothing about how long a step takes", () => {
  expect(lengths([task("a", { state: "CACHED", start_time: at(0), end_time: at(0) }), task("b", { state: "FAILED", start_time: at(0), end_time: at(9) })]).size).toBe(0);
});
