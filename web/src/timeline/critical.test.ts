import { expect, test } from "vitest";
import type { Task } from "../api/model";
import type { Step } from "../graph/document";
import { criticalPath, criticalPlaces } from "./critical";

function step(key: string, after: string[] = [], children: Step[] = [], parent = "root"): Step {
  return { key, path: `${parent}.${key}`, label: key, kind: children.length > 0 ? "loop" : "step", isCached: false, after: after.map((one) => ({ key: one, passes: [] })), children };
}

function task(path: string, from: number, to: number): Task {
  const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000).toISOString();
  return { task_id: path, name: path.split(".").at(-1) ?? "", scope_path: path, type: "RUNTIME", state: "SUCCEEDED", start_time: at(from), end_time: at(to) };
}

test("the path goes through whichever of two steps was waited for", () => {
  const steps = [step("a"), step("fast", ["a"]), step("slow", ["a"]), step("end", ["fast", "slow"])];
  const tasks = [task("root.a", 0, 5), task("root.fast", 5, 7), task("root.slow", 5, 20), task("root.end", 20, 21)];
  expect(criticalPath(steps, tasks, 0)).toEqual(["root.a", "root.slow", "root.end"]);
});

test("inside a loop it stays in one pass, and before the loop it goes on with what the loop waited for", () => {
  const steps = [step("make"), step("each", ["make"], [step("fit", [], [], "root.each"), step("test", ["fit"], [], "root.each")])];
  const tasks = [
    task("root.make", 0, 3),
    task("root.each.iteration-0.fit", 3, 9),
    task("root.each.iteration-1.fit", 3, 5),
    task("root.each.iteration-0.test", 9, 10),
    task("root.each.iteration-1.test", 9, 14),
  ];
  const path = criticalPath(steps, tasks, 0);
  expect(path).toEqual(["root.make", "root.each.iteration-1.fit", "root.each.iteration-1.test"]);
  expect([...criticalPlaces(steps, tasks, path)].sort()).toEqual(["root.each", "root.each.fit", "root.each.test", "root.make"]);
});

test("a step that still runs is the end of the path", () => {
  const steps = [step("a"), step("b", ["a"])];
  const running: Task = { ...task("root.b", 5, 5), state: "RUNNING", end_time: "1970-01-01T00:00:00Z" };
  expect(criticalPath(steps, [task("root.a", 0, 5), running], Date.now())).toEqual(["root.a", "root.b"]);
  expect(criticalPath(steps, [], 0)).toEqual([]);
});
