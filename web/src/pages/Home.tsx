// What runs now, what failed lately, the machine, and how to begin.
import { lazy, Suspense, useMemo } from "react";
import type { RunFilter } from "../api/filter";
import { moment, type Node, type Reading, type Run } from "../api/model";
import { page, topic } from "../api/paths";
import { LIVE_RUNS, NEWEST, useRun, useRuns } from "../api/queries";
import { useMachine, useWatch } from "../api/watch";
import { bytes, cause } from "../format";
import { progress } from "../graph/state";
import { useAround } from "../shell/Shell";
import { t } from "../strings";
import { Command, Head, Lasting, Problem, Since, StateChip, useTitle } from "../ui/parts";
import { RunTable } from "./RunTable";

const Curve = lazy(async () => ({ default: (await import("../ui/Curve")).Curve }));

const DAY = 24 * 3600 * 1000;
/** Seconds that the curves show: as long as the server keeps readings. */
const SPAN = 600;

export function Home() {
  const failedLately = useMemo<RunFilter>(() => ({ states: ["FAILED"], finishedAfter: Math.floor((Date.now() - DAY) / 60_000) * 60_000 }), []);
  const live = useRuns(LIVE_RUNS, NEWEST, 20);
  const failed = useRuns(failedLately, NEWEST, 5);
  const recent = useRuns({ states: ["SUCCEEDED"] }, "finished_at desc", 6);
  const isEmpty = live.isSuccess && live.total + failed.total + recent.total === 0;
  useTitle(live.total > 0 ? t.title.live(live.total) : t.page.home, live.total > 0 ? "running" : undefined);
  const error = live.error ?? failed.error ?? recent.error;
  return (
    <div className="page">
      <Head title={t.page.home} />
      {error && <Problem error={error} doing={t.home.reading} retry={() => void Promise.all([live.refetch(), failed.refetch(), recent.refetch()])} />}
      <div className="home">
        <div className="home-main">
          {isEmpty && <FirstSteps />}
          <section>
            <h2>{t.home.now}</h2>
            {live.isSuccess && live.list.length === 0 && <p className="mute">{t.home.nothingRuns}</p>}
            <ul className="plain-list">{live.list.slice(0, 8).map((run) => <LiveRun key={run.run_id} run={run} />)}</ul>
            {live.total > 8 && <p><a href={page.runsBy("state:live")}>{t.home.allLive(live.total)}</a></p>}
          </section>
          <section>
            <h2>{t.home.failed}</h2>
            {failed.isSuccess && failed.list.length === 0 && <p className="mute">{t.home.nothingFailed}</p>}
            <ul className="plain-list causes">
              {failed.list.slice(0, 5).map((run) => (
                <li key={run.run_id}>
                  <StateChip state="FAILED" />
                  <div className="grow">
                    <a href={page.run(run.run_id)}>{run.display_name}</a> <span className="mute"><Since at={moment(run.finished_at)} /></span>
                    <p>{cause(run.error?.message ?? t.home.noCause)}</p>
                  </div>
                </li>
              ))}
            </ul>
            {failed.total > 5 && <p><a href={page.runsBy("state:failed after:1d")}>{t.home.allFailed(failed.total)}</a></p>}
          </section>
          {recent.list.length > 0 && (
            <section>
              <h2>{t.home.lately}</h2>
              <RunTable runs={recent.list.slice(0, 6)} isInline />
            </section>
          )}
        </div>
        <div className="home-side">
          <MachineFigures />
          {!isEmpty && (
            <section>
              <h2>{t.home.commands}</h2>
              <p className="mute">{t.home.runFile}</p>
              <Command text="kfctl run pipeline.py --follow" />
              <p className="mute">{t.home.fromPython}</p>
              <Command text={`kfp.Client(host="${window.location.origin}")`} />
              <p className="mute">{t.home.below}</p>
              <Command text="kubectl get pods -A" />
            </section>
          )}
          <NotThere />
        </div>
      </div>
    </div>
  );
}

function FirstSteps() {
  return (
    <section className="first">
      <h2>{t.home.first}</h2>
      <ol>
        <li>
          <p>{t.home.firstImage}</p>
          <Command text="kfctl image add train:latest ./train --requirements ./train/requirements.txt" />
        </li>
        <li>
          <p>{t.home.firstRun}</p>
          <Command text="kfctl run pipeline.py --follow" />
        </li>
        <li>
          <p>{t.home.firstPython}</p>
          <Command text={`kfp.Client(host="${window.location.origin}").create_run_from_pipeline_package("pipeline.yaml")`} />
        </li>
      </ol>
    </section>
  );
}

function LiveRun({ run }: { run: Run }) {
  const whole = useRun(run.run_id);
  const { done, total } = progress(whole.data?.tasks ?? []);
  return (
    <li className="live-run">
      <StateChip state={run.state} />
      <a className="grow clip" href={page.run(run.run_id)}>{run.display_name}</a>
      {total > 0 && (
        <>
          <span className="mute num">{t.graph.done(done, total)}</span>
          <span className="meter" role="meter" aria-label={t.home.stepsEnded(run.display_name ?? run.run_id)} aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}><i style={{ width: `${(done / total) * 100}%` }} /></span>
        </>
      )}
      <span className="mute num lasting"><Lasting start={moment(run.created_at)} end={undefined} /></span>
    </li>
  );
}

function MachineFigures() {
  const { machine, error } = useMachine();
  const nodes = useWatch<Node>(topic.nodes);
  const gpus = nodes.items.reduce((sum, node) => sum + Number(node.status?.capacity?.["nvidia.com/gpu"] ?? 0), 0);
  const readings = machine?.readings ?? [];
  const last = readings.at(-1);
  return (
    <section aria-label={t.home.machine}>
      <h2>{t.home.machine}</h2>
      {error && <p className="mute">{t.home.machineUnread(error)}</p>}
      {machine && last ? (
        <>
          <Figure name={t.home.cpu} text={t.amount.share(String(Math.round(last.cpu_share * 100)), machine.cpus)} readings={readings} value={(one) => one.cpu_share} max={1} />
          <Figure name={t.home.memory} text={t.amount.of(bytes(last.memory_used_bytes), bytes(machine.memory_total_bytes))} readings={readings} value={(one) => one.memory_used_bytes} max={machine.memory_total_bytes} />
          {last.gpus && <Figure name={t.home.gpu} text={t.home.gpuUse(String(Math.round(last.gpus.share * 100)), last.gpus.count, bytes(last.gpus.memory_used_bytes), bytes(last.gpus.memory_total_bytes))} readings={readings} value={(one) => one.gpus?.share ?? 0} max={1} />}
          <Figure name={t.home.disk} text={t.amount.of(bytes(last.disk_used_bytes), bytes(machine.disk_total_bytes))} readings={readings} value={(one) => one.disk_used_bytes} max={machine.disk_total_bytes} />
        </>
      ) : (
        !error && <div className="figures-wait" aria-hidden />
      )}
      {nodes.isComplete && !last?.gpus && (
        <div className="figure-line"><span>{t.home.gpu}</span><span className="mute">{gpus > 0 ? t.home.gpus(gpus) : t.home.noGpu}</span></div>
      )}
    </section>
  );
}

function Figure({ name, text, readings, value, max }: { name: string; text: string; readings: Reading[]; value: (one: Reading) => number; max: number }) {
  const times = readings.map((one) => one.at_ms / 1000);
  return (
    <div className="figure">
      <span>{name}</span>
      <span className="mute num">{text}</span>
      <Suspense fallback={<div className="curve" />}>
        <Curve times={times} values={readings.map(value)} max={max} span={SPAN} label={t.home.curve(name, text)} />
      </Suspense>
    </div>
  );
}

function NotThere() {
  const { session } = useAround();
  const titles = [...new Set(session.absent.map((part) => part.title))];
  if (titles.length === 0) return null;
  return (
    <section>
      <h2>{t.home.absent}</h2>
      <p className="mute">{t.home.absentParts(titles)}</p>
    </section>
  );
}
