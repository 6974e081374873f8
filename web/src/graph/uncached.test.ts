import { expect, test } from "vitest";
import type { Run, Task } from "../api/model";
import { uncached } from "./uncached";

function run(enableCache: boolean, image: string, rate: number, path = "root.fit"): { run: Run; task: Task } {
  const task: Task = { task_id: "1", name: "fit", type: "RUNTIME", scope_path: path, inputs: { parameters: [{ parameter_key: "rate", value: rate }] } };
  const pipeline_spec = {
    root: { dag: { tasks: { fit: { componentRef: { name: "comp-fit" }, cachingOptions: { enableCache } } } } },
    components: { "comp-fit": { executorLabel: "exec-fit" } },
    deploymentSpec: { executors: { "exec-fit": { container: { image } } } },
  };
  return { run: { run_id: "r", pipeline_spec, tasks: [task] }, task };
}

test("a step whose caching is off says so, whatever ran before", () => {
  const now = run(false, "a", 1);
  expect(uncached(now.run, now.task, null)).toEqual({ why: "off" });
});

test("the first run has nothing to take from, and a step that is new neither", () => {
  const now = run(true, "a", 1);
  expect(uncached(now.run, now.task, null)).toEqual({ why: "first" });
  expect(uncached(now.run, now.task, run(true, "a", 1, "root.other").run)).toEqual({ why: "new" });
});

test("what is another than the last time is named: first the code, then each parameter", () => {
  const now = run(true, "a", 0.5);
  expect(uncached(now.run, now.task, run(true, "b", 0.7).run)).toEqual({ why: "code" });
  expect(uncached(now.run, now.task, run(true, "a", 0.7).run)).toEqual({ why: "inputs", inputs: [{ name: "rate", before: "0.7", now: "0.5" }] });
  expect(uncached(now.run, now.task, run(true, "a", 0.5).run)).toEqual({ why: "unknown" });
});
