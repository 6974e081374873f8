// Why a step ran although results are kept: what is another than in the last run that ended well.
import type { Run, Task } from "../api/model";
import { plain } from "../format";
import { document as documentOf, flatten, type Step, steps } from "./document";
import { stepPath } from "./state";

export type Reason =
  | { why: "off" }
  | { why: "first" }
  | { why: "new" }
  | { why: "code" }
  | { why: "inputs"; inputs: { name: string; before: string; now: string }[] }
  | { why: "unknown" };

/** The step of a run's document that a task runs. */
export function stepOf(run: Run, task: Task): Step | undefined {
  const ir = documentOf(run.pipeline_spec);
  return ir ? flatten(steps(ir)).find((one) => one.path === stepPath(task)) : undefined;
}

/** `last` is the last run of the same pipeline that ended well, null where there is none. */
export function uncached(run: Run, task: Task, last: Run | null): Reason {
  const step = stepOf(run, task);
  if (step && !step.isCached) return { why: "off" };
  if (!last) return { why: "first" };
  const before = (last.tasks ?? []).find((one) => one.scope_path === task.scope_path) ?? (last.tasks ?? []).find((one) => stepPath(one) === stepPath(task));
  if (!before) return { why: "new" };
  const old = stepOf(last, before);
  if (step && old && (step.image !== old.image || step.command?.join("\n") !== old.command?.join("\n"))) return { why: "code" };
  const values = (one: Task) => new Map((one.inputs?.parameters ?? []).map(({ parameter_key, value }) => [parameter_key, plain(value)]));
  const [then, now] = [values(before), values(task)];
  const names = [...new Set([...then.keys(), ...now.keys()])];
  const inputs = names.filter((name) => then.get(name) !== now.get(name)).map((name) => ({ name, before: then.get(name) ?? "", now: now.get(name) ?? "" }));
  return inputs.length > 0 ? { why: "inputs", inputs } : { why: "unknown" };
}
