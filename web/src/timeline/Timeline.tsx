// When each step waited and ran. A click on a bar chooses its step and leads the log to that moment.
import { type MouseEvent, useMemo } from "react";
import type { Task } from "../api/model";
import { isOver } from "../api/model";
import { clock, duration } from "../format";
import { Lasting, toneOf, useNow, wordOf } from "../ui/parts";
import { bars, lasting } from "./bars";

interface Props {
  tasks: Task[];
  /** Ids of the tasks on the critical path. */
  critical: string[];
  chosen?: string;
  choose: (task: Task, at?: number) => void;
}

export function Timeline({ tasks, critical, chosen, choose }: Props) {
  const now = useNow(tasks.some((task) => !isOver(task.state)));
  const scale = useMemo(() => bars(tasks, now), [tasks, now]);
  const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
  const onPath = useMemo(() => new Set(critical), [critical]);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => ({ share, at: scale.begin + share * (scale.end - scale.begin) }));
  const click = (event: MouseEvent<HTMLButtonElement>, task: Task) => {
    const track = event.currentTarget.querySelector(".track")?.getBoundingClientRect();
    // Without a place (by keyboard, or on the name) the step is chosen, and no moment.
    if (!track || event.detail === 0 || event.clientX < track.left || event.clientX > track.right) return choose(task);
    choose(task, Math.round(scale.begin + ((event.clientX - track.left) / track.width) * (scale.end - scale.begin)));
  };
  return (
    <section className="timeline" aria-label="Timeline">
      <div className="pane-head">
        <h2>Timeline</h2>
        <span className="mute">
          critical path {duration(lasting(tasks, onPath, now))} of {duration(scale.end - scale.begin)}
        </span>
        <span className="legend mute grow right" aria-hidden>
          <i className="key critical" /> critical path <i className="key wait" /> waiting to start
        </span>
      </div>
      <div className="bars" tabIndex={0} role="group" aria-label="Steps over time">
        {scale.bars.map((bar) => {
          const isCritical = onPath.has(bar.task.task_id);
          return (
            <button key={bar.task.task_id} type="button" className={`bar-row ${bar.task.task_id === chosen ? "chosen" : ""} ${isCritical ? "critical" : ""}`} aria-pressed={bar.task.task_id === chosen} onClick={(event) => click(event, bar.task)}>
              <span className="bar-name">{bar.label}{isCritical && <span className="sr">, on the critical path</span>}</span>
              <span className="track" aria-hidden>
                {bar.from !== undefined && (
                  <>
                    <i className="wait" style={{ left: percent(bar.waitFrom), width: percent(Math.max(0, bar.from - bar.waitFrom)) }} />
                    <i className={`run ${toneOf(bar.task.state)}`} style={{ left: percent(bar.from), width: percent(Math.max(0.006, bar.to - bar.from)) }} />
                  </>
                )}
              </span>
              <span className="bar-time">{bar.start !== undefined ? <Lasting start={bar.start} end={bar.end} /> : wordOf(bar.task.state).toLowerCase()}</span>
            </button>
          );
        })}
        <div className="bar-row axis" aria-hidden>
          <span />
          <span className="ticks">
            {ticks.map(({ share, at }) => (
              <span key={share} style={{ left: percent(share) }}>{share === 1 && tasks.some((task) => !isOver(task.state)) ? "now" : clock(at)}</span>
            ))}
          </span>
          <span />
        </div>
      </div>
    </section>
  );
}
