// From tasks to bars on a common scale.
import { began, isOver, isStep, moment, type Task } from "../api/model";
import { iterations } from "../graph/state";
import { t } from "../strings";

export interface Bar {
  task: Task;
  label: string;
  /** Fractions of the whole, 0 to 1. */
  waitFrom: number;
  from: number | undefined;
  to: number;
  start: number | undefined;
  end: number | undefined;
}

/** Bars in order of their beginning; the scale ends now while something runs. */
export function bars(tasks: Task[], now: number, until = now): { bars: Bar[]; begin: number; end: number } {
  const real = tasks.filter(isStep);
  const begin = Math.min(...real.map((task) => moment(task.create_time) ?? began(task) ?? now), now);
  const ends = real.map((task) => (isOver(task.state) ? moment(task.end_time) : now)).filter((at) => at !== undefined);
  const end = Math.max(begin + 1000, ...ends, ...(real.every((task) => isOver(task.state)) ? [] : [until]));
  const share = (at: number) => Math.min(1, Math.max(0, (at - begin) / (end - begin)));
  const made = real.map((task): Bar => {
    const start = began(task);
    // A task is created when its turn comes: from then on it waits for its pod.
    const ready = moment(task.create_time) ?? start ?? now;
    const stop = moment(task.end_time) ?? (isOver(task.state) ? start : now);
    const at = iterations(task);
    return {
      task,
      label: at.length > 0 ? t.timeline.iterations(task.display_name ?? task.name, at) : (task.display_name ?? task.name),
      waitFrom: share(ready),
      from: start === undefined ? undefined : share(start),
      to: share(stop ?? now),
      start,
      end: isOver(task.state) ? stop : undefined,
    };
  });
  // Times are whole seconds; the server lists what began within one in order.
  made.sort((a, b) => (a.from ?? 2) - (b.from ?? 2));
  return { bars: made, begin, end };
}

/** How long the tasks named ran, together. */
export function lasting(tasks: Task[], ids: ReadonlySet<string>, now: number): number {
  return tasks
    .filter((task) => ids.has(task.task_id))
    .reduce((sum, task) => {
      const start = began(task);
      const end = isOver(task.state) ? (moment(task.end_time) ?? start) : now;
      return start === undefined || end === undefined ? sum : sum + Math.max(0, end - start);
    }, 0);
}
