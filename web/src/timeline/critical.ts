// The steps that decided how long the run took: from the last one back, each time the one whose end was waited for.
import { began, isOver, isStep, moment, type Task } from "../api/model";
import type { Step } from "../graph/document";
import { flatten } from "../graph/document";
import { stepPath } from "../graph/state";

/** Ids of the tasks on the critical path, first to last. */
export function criticalPath(steps: Step[], tasks: Task[], now: number): string[] {
  const real = tasks.filter((task) => isStep(task) && began(task) !== undefined);
  const ended = (task: Task) => (isOver(task.state) ? (moment(task.end_time) ?? began(task) ?? 0) : now);
  const latest = (list: Task[]) => list.reduce<Task | undefined>((best, task) => (best === undefined || ended(task) > ended(best) ? task : best), undefined);
  const before = waitsFor(steps);
  const path: string[] = [];
  const seen = new Set<string>();
  let task = latest(real);
  while (task && !seen.has(task.task_id)) {
    seen.add(task.task_id);
    path.unshift(task.task_id);
    const paths = before.get(stepPath(task)) ?? [];
    const start = began(task) ?? now;
    const iteration = iterationsOf(task);
    const current = task;
    task = latest(
      real.filter(
        (one) =>
          one !== current &&
          ended(one) <= start + 1000 &&
          paths.some((path) => stepPath(one) === path || stepPath(one).startsWith(`${path}.`)) &&
          isTogether(iteration, iterationsOf(one)),
      ),
    );
  }
  return path;
}

/** The passes of loops that a task is in, by the loop's place. */
function iterationsOf(task: Task): Map<string, string> {
  const found = new Map<string, string>();
  let path = "";
  for (const part of (task.scope_path ?? "").split(".")) {
    if (/^iteration-\d+$/.test(part)) found.set(path, part);
    else path = path ? `${path}.${part}` : part;
  }
  return found;
}

/** In the same pass of every loop that both are in. */
function isTogether(a: Map<string, string>, b: Map<string, string>): boolean {
  return [...a].every(([loop, pass]) => !b.has(loop) || b.get(loop) === pass);
}

/** The places whose end each place waits for: its own, then those of the graphs around it. */
export function waitsFor(steps: Step[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const walk = (list: Step[], outer: string[]) => {
    const byKey = new Map(list.map((step) => [step.key, step.path]));
    for (const step of list) {
      const own = step.after.map(({ key }) => byKey.get(key)).filter((path) => path !== undefined);
      const all = own.length > 0 ? own : outer;
      found.set(step.path, all);
      walk(step.children, all);
    }
  };
  walk(steps, []);
  return found;
}

/** Names of the places on the path, with the graphs around them, for the picture. */
export function criticalPlaces(steps: Step[], tasks: Task[], path: string[]): Set<string> {
  const places = new Set(tasks.filter((task) => path.includes(task.task_id)).map(stepPath));
  for (const step of flatten(steps)) {
    if (step.children.length > 0 && [...places].some((place) => place.startsWith(`${step.path}.`))) places.add(step.path);
  }
  return places;
}
