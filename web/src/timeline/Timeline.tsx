// When each step waited and ran. A click on a bar chooses its step and leads the log to that moment.
import { type MouseEvent, useMemo } from "react";
import type { Task } from "../api/model";
import { isOver } from "../api/model";
import { clock, duration } from "../format";
import { t } from "../strings";
import { Lasting, toneOf, useNow, wordOf } from "../ui/parts";
import { bars, lasting } from "./bars";
import type { Expected } from "./estimate";

interface Props {
  tasks: Task[];
  /** Ids of the tasks on the critical path. */
  critical: string[];
  /** When tasks that are not over are expected to run, by what the last run took. */
  expected: Map<string, Expected>;
  chosen?: string;
  choose: (task: Task, at?: number) => void;
}

export function Timeline({ tasks, critical, expected, chosen, choose }: Props) {
  const now = useNow(tasks.some((task) => !isOver(task.state)));
  const until = Math.max(now, ...[...expected.values()].map((one) => one.to));
  const scale = useMemo(() => bars(tasks, now, until), [tasks, now, until]);
  const share = (at: number) => Math.min(1, Math.max(0, (at - scale.begin) / (scale.end - scale.begin)));
  const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
  const onPath = useMemo(() => new Set(critical), [critical]);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((place) => ({ place, at: scale.begin + place * (scale.end - scale.begin) }));
  const click = (event: MouseEvent<HTMLButtonElement>, task: Task) => {
    const track = event.currentTarget.querySelector(".track")?.getBoundingClientRect();
    // Without a place (by keyboard, or on the name) the step is chosen, and no moment.
    if (!track || event.detail === 0 || event.clientX < track.left || event.clientX > track.right) return choose(task);
    choose(task, Math.round(scale.begin + ((event.clientX - track.left) / track.width) * (scale.end - scale.begin)));
  };
  return (
    <section className="timeline" aria-label={t.timeline.title}>
      <div className="pane-head">
        <h2>{t.timeline.title}</h2>
        <span className="mute">
          {t.timeline.critical(duration(lasting(tasks, onPath, now)), duration(Math.min(now, scale.end) - scale.begin))}
        </span>
        <span className="legend mute grow right" aria-hidden>
          <i className="key critical" /> {t.timeline.criticalKey} <i className="key wait" /> {t.timeline.waitKey}
          {expected.size > 0 && <><i className="key expected" /> {t.timeline.expectedKey}</>}
        </span>
      </div>
      <div className="bars" tabIndex={0} role="group" aria-label={t.timeline.bars} title={t.timeline.hint}>
        {scale.bars.map((bar) => {
          const isCritical = onPath.has(bar.task.task_id);
          const next = expected.get(bar.task.task_id);
          return (
            <button key={bar.task.task_id} type="button" className={`bar-row ${bar.task.task_id === chosen ? "chosen" : ""} ${isCritical ? "critical" : ""}`} aria-pressed={bar.task.task_id === chosen} onClick={(event) => click(event, bar.task)}>
              <span className="bar-name">{bar.label}{isCritical && <span className="sr">{t.timeline.onPath}</span>}</span>
              <span className="track" aria-hidden>
                {bar.from !== undefined && (
                  <>
                    <i className="wait" style={{ left: percent(bar.waitFrom), width: percent(Math.max(0, bar.from - bar.waitFrom)) }} />
                    <i className={`run ${toneOf(bar.task.state)}`} style={{ left: percent(bar.from), width: percent(Math.max(0.006, bar.to - bar.from)) }} />
                  </>
                )}
                {next && <i className="expected" style={{ left: percent(share(next.from)), width: percent(share(next.to) - share(next.from)) }} />}
              </span>
              <span className="bar-time">{bar.start !== undefined ? <Lasting start={bar.start} end={bar.end} /> : next ? t.time.about(duration(next.to - next.from)) : wordOf(bar.task.state).toLowerCase()}</span>
            </button>
          );
        })}
        <div className="bar-row axis" aria-hidden>
          <span />
          <span className="ticks">
            {ticks.map(({ place, at }) => (
              <span key={place} style={{ left: percent(place) }}>{place === 1 && until === now && tasks.some((task) => !isOver(task.state)) ? t.time.now : clock(at)}</span>
            ))}
          </span>
          <span />
        </div>
      </div>
    </section>
  );
}
