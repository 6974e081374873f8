// What is still to come, as long as it took the last time.
import { began, isOver, isStep, moment, type Task } from "../api/model";
import { stepPath } from "../graph/state";

/** How long each place took, milliseconds; the longest where several tasks had it. */
export function lengths(tasks: Task[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const task of tasks.filter(isStep)) {
    const [start, end] = [began(task), moment(task.end_time)];
    if (task.state !== "SUCCEEDED" || start === undefined || end === undefined) continue;
    const path = stepPath(task);
    found.set(path, Math.max(found.get(path) ?? 0, end - start));
  }
  return found;
}

export interface Expected {
  from: number;
  to: number;
}

/** When each task that is not over is expected to run; those that began already, from now on. */
export function expected(tasks: Task[], before: Map<string, string[]>, last: Map<string, number>, now: number): Map<string, Expected> {
  const real = tasks.filter(isStep);
  const found = new Map<string, Expected>();
  const open = new Set<string>();
  const endOf = (task: Task): number => {
    if (isOver(task.state)) return now;
    const known = found.get(task.task_id);
    if (known) return known.to;
    // A document that waits for itself would never end.
    if (open.has(task.task_id)) return now;
    open.add(task.task_id);
    const length = last.get(stepPath(task));
    const start = began(task);
    const waits = before.get(stepPath(task)) ?? [];
    const ready = real.filter((one) => one !== task && waits.some((path) => stepPath(one) === path || stepPath(one).startsWith(`${path}.`))).map(endOf);
    const from = start === undefined ? Math.max(now, ...ready) : now;
    const to = start === undefined ? from + (length ?? 0) : Math.max(now, start + (length ?? 0));
    if (length !== undefined && to > from) found.set(task.task_id, { from, to });
    return to;
  };
  for (const task of real) endOf(task);
  return found;
}
