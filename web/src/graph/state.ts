// From the tasks of a run to the state of each box of its graph. A step inside a loop has one task per iteration.
import { began, isOver, isStep, moment, type State, type Task } from "../api/model";

export interface StepState {
  tasks: Task[];
  state: State | undefined;
  /** Finished of all, where there are several. */
  done: number;
  start?: number;
  end?: number;
}

// The first that any task has is what the box shows.
const ORDER: State[] = ["FAILED", "RUNNING", "PENDING", "CANCELED", "SUCCEEDED", "CACHED", "SKIPPED"];

/** States by `scope_path`, without the places of iterations. */
export function statesByPath(tasks: Task[]): Map<string, StepState> {
  const found = new Map<string, Task[]>();
  for (const task of tasks) {
    if (task.type === "ROOT") continue;
    // One iteration is a graph of its own inside the loop; the loop's box stands for it.
    if (task.type_attributes?.iteration_index !== undefined && task.type !== "RUNTIME") continue;
    const path = stepPath(task);
    const list = found.get(path) ?? [];
    list.push(task);
    found.set(path, list);
  }
  return new Map([...found].map(([path, list]) => [path, merge(list)]));
}

/** A task's place in the document: its place in the run without the iterations. */
export function stepPath(task: Task): string {
  return (task.scope_path ?? `root.${task.name}`).replace(/\.iteration-\d+(?=\.|$)/g, "");
}

/** The iterations a task is in, outermost first: `[0, 2]`. */
export function iterations(task: Task): number[] {
  return [...(task.scope_path ?? "").matchAll(/\.iteration-(\d+)(?=\.|$)/g)].map((match) => Number(match[1]));
}

function merge(tasks: Task[]): StepState {
  const states: (State | undefined)[] = tasks.map((task) => task.state);
  const starts = tasks.map(began).filter((at) => at !== undefined);
  const ends = tasks.map((task) => moment(task.end_time)).filter((at) => at !== undefined);
  const isAllOver = tasks.every((task) => isOver(task.state));
  return {
    tasks,
    state: ORDER.find((state) => states.includes(state)),
    done: tasks.filter((task) => isOver(task.state)).length,
    start: starts.length > 0 ? Math.min(...starts) : undefined,
    end: isAllOver && ends.length > 0 ? Math.max(...ends) : undefined,
  };
}

/** Steps that run containers, and how many of them ended well. */
export function progress(tasks: Task[]): { done: number; total: number } {
  const real = tasks.filter(isStep);
  return { done: real.filter((task) => isOver(task.state)).length, total: real.length };
}

/** The step to look at when nobody chose one: what failed, what runs, else the last that ran. */
export function foremost(tasks: Task[]): Task | undefined {
  const real = tasks.filter(isStep);
  const last = (list: Task[]) => list.toSorted((a, b) => (began(a) ?? 0) - (began(b) ?? 0)).at(-1);
  return (
    real.find((task) => task.state === "FAILED") ??
    real.find((task) => task.state === "RUNNING") ??
    last(real.filter((task) => began(task) !== undefined)) ??
    real[0]
  );
}
