// What runs now, what failed lately, the machine, and how to begin.
import { isOver, moment } from "../api/model";
import { page } from "../api/paths";
import { useMachine, useRuns } from "../api/queries";
import { bytes, cause } from "../format";
import { Command, Head, Lasting, Problem, Since, StateChip, useTitle } from "../ui/parts";
import { RunTable } from "./Runs";

const DAY = 24 * 3600 * 1000;

export function Home() {
  const runs = useRuns();
  const all = runs.data?.pages.flatMap((one) => one.runs ?? []) ?? [];
  const live = all.filter((run) => !isOver(run.state));
  const failed = all.filter((run) => run.state === "FAILED" && (moment(run.finished_at) ?? 0) > Date.now() - DAY).slice(0, 5);
  const recent = all.filter((run) => isOver(run.state)).slice(0, 6);
  useTitle(live.length > 0 ? `● ${live.length} live` : "Home", live.length > 0 ? "running" : undefined);
  return (
    <div className="page">
      <Head title="Home" />
      {runs.isError && <Problem error={runs.error} doing="Reading the runs" retry={() => void runs.refetch()} />}
      <div className="home">
        <div className="home-main">
          <section>
            <h2>Runs now</h2>
            {live.length === 0 && <p className="mute">Nothing runs at the moment.</p>}
            <ul className="plain-list">
              {live.map((run) => (
                <li key={run.run_id}>
                  <StateChip state={run.state} /> <a href={page.run(run.run_id)}>{run.display_name}</a>
                  <span className="grow right mute"><Lasting start={moment(run.created_at)} end={undefined} /></span>
                </li>
              ))}
            </ul>
          </section>
          <section>
            <h2>Failed in the last day</h2>
            {failed.length === 0 && <p className="mute">Nothing failed.</p>}
            <ul className="plain-list causes">
              {failed.map((run) => (
                <li key={run.run_id}>
                  <StateChip state="FAILED" />
                  <div className="grow">
                    <a href={page.run(run.run_id)}>{run.display_name}</a> <span className="mute"><Since at={moment(run.finished_at)} /></span>
                    <p>{cause(run.error?.message ?? "no cause was recorded")}</p>
                  </div>
                </li>
              ))}
            </ul>
          </section>
          {recent.length > 0 && (
            <section>
              <h2>Finished lately</h2>
              <RunTable runs={recent} />
            </section>
          )}
        </div>
        <div className="home-side">
          <MachineFigures />
          <section>
            <h2>Start here</h2>
            <p className="mute">Give a folder with your step's code a name:</p>
            <Command text="kfctl image add train:latest ./train --requirements ./train/requirements.txt" />
            <p className="mute">Run a pipeline file and watch it:</p>
            <Command text="kfctl run pipeline.py --follow" />
            <p className="mute">Or from Python, with the kfp SDK:</p>
            <Command text={`kfp.Client(host="${window.location.origin}")`} />
            <p className="mute">Look below the surface:</p>
            <Command text="kubectl get pods -A" />
          </section>
        </div>
      </div>
    </div>
  );
}

function MachineFigures() {
  const machine = useMachine();
  const figures = machine.data
    ? [
        { name: "CPU", share: machine.data.cpu, text: `${Math.round(machine.data.cpu * 100)} % of ${machine.data.cpus} cores` },
        { name: "Memory", share: machine.data.memory_used_bytes / machine.data.memory_total_bytes, text: `${bytes(machine.data.memory_used_bytes)} of ${bytes(machine.data.memory_total_bytes)}` },
        { name: "Disk", share: machine.data.disk_used_bytes / machine.data.disk_total_bytes, text: `${bytes(machine.data.disk_used_bytes)} of ${bytes(machine.data.disk_total_bytes)}` },
      ]
    : [];
  return (
    <section>
      <h2>This machine</h2>
      {machine.isError && <p className="mute">The figures cannot be read: {machine.error.message}</p>}
      {figures.map((figure) => (
        <div className="figure" key={figure.name}>
          <span>{figure.name}</span>
          <span className="mute num">{figure.text}</span>
          <span className="meter" role="meter" aria-label={figure.name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(figure.share * 100)}>
            <i className={figure.share > 0.9 ? "full" : ""} style={{ width: `${Math.round(figure.share * 100)}%` }} />
          </span>
        </div>
      ))}
    </section>
  );
}
