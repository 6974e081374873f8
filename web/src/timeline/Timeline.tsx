// When each step waited and ran.
import type { Task } from "../api/model";
import { isOver } from "../api/model";
import { clock, duration } from "../format";
import { Lasting, toneOf, useNow, wordOf } from "../ui/parts";
import { bars } from "./bars";

export function Timeline({ tasks, chosen, choose }: { tasks: Task[]; chosen?: string; choose: (task: Task) => void }) {
  const now = useNow(tasks.some((task) => !isOver(task.state)));
  const scale = bars(tasks, now);
  const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
  return (
    <section className="timeline" aria-label="Timeline">
      <div className="pane-head">
        <h2>Timeline</h2>
        <span className="mute">
          {duration(scale.end - scale.begin)} from {clock(scale.begin)}
        </span>
        <span className="mute grow right">grey = waiting to start</span>
      </div>
      <div className="bars" tabIndex={0} role="group" aria-label="Steps over time">
        {scale.bars.map((bar) => (
          <button key={bar.task.task_id} type="button" className={bar.task.task_id === chosen ? "bar-row chosen" : "bar-row"} onClick={() => choose(bar.task)}>
            <span className="bar-name">{bar.label}</span>
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
        ))}
      </div>
    </section>
  );
}
