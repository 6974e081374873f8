import { expect, test } from "vitest";
import type { Task } from "../api/model";
import { bars } from "../timeline/bars";
import { foremost, iterations, progress, statesByPath } from "./state";

const task = (over: Partial<Task>): Task => ({ task_id: over.scope_path ?? "t", name: "t", type: "RUNTIME", ...over });
const TASKS: Task[] = [
  task({ scope_path: "root", type: "ROOT", state: "RUNNING" }),
  task({ scope_path: "root.loop", type: "LOOP", state: "RUNNING" }),
  task({ scope_path: "root.loop.iteration-0", type: "DAG", state: "SUCCEEDED", type_attributes: { iteration_index: "0" } }),
  task({ scope_path: "root.loop.iteration-0.a", state: "SUCCEEDED", create_time: "2026-01-01T00:00:00Z", start_time: "2026-01-01T00:00:02Z", end_time: "2026-01-01T00:00:06Z" }),
  task({ scope_path: "root.loop.iteration-1.a", state: "RUNNING", create_time: "2026-01-01T00:00:00Z", start_time: "2026-01-01T00:00:04Z", end_time: "1970-01-01T00:00:00Z" }),
];

test("iterations of a step share one box, which shows the liveliest state", () => {
  const states = statesByPath(TASKS);
  expect([...states.keys()]).toEqual(["root.loop", "root.loop.a"]);
  const box = states.get("root.loop.a");
  expect(box).toMatchObject({ state: "RUNNING", done: 1, start: Date.parse("2026-01-01T00:00:02Z"), end: undefined });
});

test("a failed iteration outweighs the others", () => {
  const failed = [...TASKS, task({ scope_path: "root.loop.iteration-2.a", state: "FAILED" })];
  expect(statesByPath(failed).get("root.loop.a")?.state).toBe("FAILED");
  expect(foremost(failed)?.scope_path).toBe("root.loop.iteration-2.a");
});

test("progress counts steps, not graphs", () => {
  expect(progress(TASKS)).toEqual({ done: 1, total: 2 });
});

test("iterations are read from the place of a task", () => {
  expect(iterations(task({ scope_path: "root.l.iteration-1.m.iteration-12.a" }))).toEqual([1, 12]);
});

test("a bar of a running step reaches to now, and waiting lies before it", () => {
  const now = Date.parse("2026-01-01T00:00:10Z");
  const scale = bars(TASKS, now);
  expect(scale.end).toBe(now);
  const [first, second] = scale.bars;
  expect(first).toMatchObject({ label: "t [0]", waitFrom: 0, from: 0.2, to: 0.6 });
  expect(second).toMatchObject({ from: 0.4, to: 1, end: undefined });
});
