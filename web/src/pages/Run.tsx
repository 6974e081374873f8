// One run: graph, timeline and the chosen step side by side and in step, live.
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState } from "react";
import { call, post } from "../api/client";
import { began, isOver, isStep, metricsOf, moment, type Run as RunModel, type Task } from "../api/model";
import { api, page } from "../api/paths";
import { useExperiment, useLastRun, usePipeline, useRun } from "../api/queries";
import { absolute, clock, plain, short } from "../format";
import { document as documentOf, flatten, type Step, steps as stepsOf } from "../graph/document";
import { Graph } from "../graph/Graph";
import { foremost, progress, statesByPath, type StepState, stepPath } from "../graph/state";
import { go, setQuery } from "../router";
import { criticalPath, criticalPlaces, waitsFor } from "../timeline/critical";
import { type Expected, expected, lengths } from "../timeline/estimate";
import { Timeline } from "../timeline/Timeline";
import { t } from "../strings";
import { isTyping } from "../ui/keys";
import { CopyMenu, MoreMenu } from "../ui/Menu";
import { Button, Confirm, Facts, Head, Lasting, Loading, Problem, Since, StateChip, toneOf, useNow, useTitle, wordOf } from "../ui/parts";
import { StepPanel } from "./StepPanel";

type Verb = "terminate" | "retry" | "archive" | "unarchive";

export function Run({ id, query, namespace }: { id: string; query: URLSearchParams; namespace: string }) {
  const run = useRun(id);
  if (run.isPending) return <Loading what={t.loading.run} />;
  if (run.isError) return <Problem error={run.error} doing={t.run.reading} retry={() => void run.refetch()} />;
  return <Loaded run={run.data} query={query} namespace={namespace} />;
}

function Loaded({ run, query, namespace }: { run: RunModel; query: URLSearchParams; namespace: string }) {
  const cache = useQueryClient();
  const [asks, setAsks] = useState<"terminate" | "delete">();
  const [failure, setFailure] = useState<{ doing: string; error: unknown }>();
  const tasks = useMemo(() => run.tasks ?? [], [run.tasks]);
  const graph = useMemo(() => {
    const ir = documentOf(run.pipeline_spec);
    return ir ? stepsOf(ir) : [];
  }, [run.pipeline_spec]);
  const states = useMemo(() => statesByPath(tasks), [tasks]);
  const over = isOver(run.state);
  const now = useNow(!over);
  const critical = useMemo(() => criticalPath(graph, tasks, now), [graph, tasks, now]);
  const places = useMemo(() => criticalPlaces(graph, tasks, critical), [graph, tasks, critical]);
  const last = useLastRun(run, !over);
  const took = useMemo(() => lengths(last.data?.tasks ?? []), [last.data]);
  const before = useMemo(() => waitsFor(graph), [graph]);
  const ahead = useMemo(() => (over ? new Map<string, Expected>() : expected(tasks, before, took, now)), [over, tasks, before, took, now]);
  const waits = useMemo(() => (over ? undefined : waitingFor(graph, states)), [over, graph, states]);
  const wanted = query.get("step");
  const task = tasks.find((one) => one.task_id === wanted) ?? tasks.find((one) => one.name === wanted) ?? foremost(tasks);
  const { done, total } = progress(tasks);
  const name = run.display_name ?? run.run_id;
  const isArchived = run.storage_state === "ARCHIVED";
  const at = Number(query.get("at")) || undefined;
  useTitle(over ? t.title.ended(wordOf(run.state), name) : t.title.run(done, total, name), toneOf(run.state));

  const choose = useCallback((one: Task, at?: number) => setQuery({ step: one.task_id, at: at === undefined ? undefined : String(at), ...(at === undefined ? {} : { tab: undefined }) }), []);
  const choosePath = useCallback(
    (path: string) => {
      const list = states.get(path)?.tasks ?? [];
      const one = foremost(list) ?? list[0];
      if (one) choose(one);
    },
    [states, choose],
  );
  useStepKeys(tasks, task, choose);
  const act = (verb: Verb) => {
    setFailure(undefined);
    setAsks(undefined);
    post(api.act(run.run_id, verb))
      .then(() => cache.invalidateQueries({ queryKey: ["run", run.run_id] }))
      .catch((error: unknown) => setFailure({ doing: t.run.doing[verb], error }));
  };
  const remove = () => {
    setAsks(undefined);
    call(api.oneRun(run.run_id), { method: "DELETE" })
      .then(() => go(page.runs))
      .catch((error: unknown) => setFailure({ doing: t.run.doing.delete, error }));
  };
  return (
    <div className="page fill work">
      <Head
        crumbs={[{ name: t.page.runs, href: page.runs }, { name: run.run_id.slice(0, 8) }]}
        title={name}
        chip={
          <>
            <StateChip state={run.state}>{over ? undefined : t.state.progress(wordOf(run.state), done, total)}</StateChip>
            {isArchived && <span className="chip waiting">{t.state.archived}</span>}
          </>
        }
        actions={
          <>
            <CopyMenu
              items={[
                { name: t.copy.kfctl, text: `kfctl logs ${run.run_id} --follow` },
                { name: t.copy.python, text: `import kfp\n\nrun = kfp.Client(host="${window.location.origin}").get_run("${run.run_id}")\nprint(run.state)` },
                { name: t.copy.curl, text: `curl '${window.location.origin}${api.run(run.run_id)}'` },
                { name: t.copy.kubectl, text: `kubectl get pods -n ${namespace} -l pipeline/runid=${run.run_id}` },
                { name: t.copy.link, text: window.location.href },
              ]}
            />
            <Button href={page.cloneRun(run.run_id)}>{t.act.clone}</Button>
            {run.state === "FAILED" && <Button onClick={() => act("retry")}>{t.act.retry}</Button>}
            {!over && run.state !== "CANCELING" && <Button onClick={() => setAsks("terminate")}>{t.act.terminate}</Button>}
            {isArchived && <Button onClick={() => act("unarchive")}>{t.act.restore}</Button>}
            <MoreMenu
              items={[
                ...(isArchived ? [] : [{ name: t.act.archive, run: () => act("archive") }]),
                { name: t.act.deleteAsk, isDanger: true, run: () => setAsks("delete") },
              ]}
            />
          </>
        }
        facts={<RunFacts run={run} />}
      />
      {failure && <Problem error={failure.error} doing={failure.doing} />}
      {asks === "terminate" && (
        <Confirm title={t.run.terminate(name)} action={t.act.terminate} run={() => act("terminate")} close={() => setAsks(undefined)}>
          {t.run.terminateLoses}
        </Confirm>
      )}
      {asks === "delete" && (
        <Confirm title={t.run.delete(name)} action={t.act.delete} run={remove} close={() => setAsks(undefined)}>
          {t.run.deleteLoses(total, over)}
        </Confirm>
      )}
      <div className="run-area">
        <div className="run-left">
          <div className="graph" role="region" aria-label={t.run.graph}>
            {graph.length > 0 ? <Graph steps={graph} states={states} critical={places} waits={waits} took={over ? undefined : took} chosen={task ? stepPath(task) : undefined} choose={choosePath} /> : <p className="note mute">{t.run.noDocument}</p>}
          </div>
          {tasks.length > 0 && <Timeline tasks={tasks} critical={critical} expected={ahead} chosen={task?.task_id} choose={choose} />}
        </div>
        <aside className="side" aria-label={t.run.chosenStep}>
          {task ? (
            <StepPanel key={task.task_id} run={run} task={task} tasks={tasks} tab={query.get("tab") ?? "log"} at={at} namespace={namespace} retry={run.state === "FAILED" ? () => act("retry") : undefined} stop={over ? undefined : () => setAsks("terminate")} choose={choose} />
          ) : (
            <p className="note mute">{run.error?.message ?? t.run.noSteps}</p>
          )}
        </aside>
      </div>
    </div>
  );
}

/** Names of the steps that each place still waits for, where it waits. */
function waitingFor(graph: Step[], states: ReadonlyMap<string, StepState>): Map<string, string[]> {
  const names = new Map(flatten(graph).map((step) => [step.path, step.label]));
  const found = new Map<string, string[]>();
  for (const [path, before] of waitsFor(graph)) {
    if (states.get(path)?.start !== undefined) continue;
    found.set(path, before.filter((one) => !isOver(states.get(one)?.state)).map((one) => names.get(one) ?? one));
  }
  return found;
}

/** j and k go through the steps in the order in which they began. */
function useStepKeys(tasks: Task[], chosen: Task | undefined, choose: (task: Task) => void) {
  useEffect(() => {
    const real = tasks.filter(isStep).sort((a, b) => (began(a) ?? Infinity) - (began(b) ?? Infinity));
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const step = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
      const next = real[Math.min(real.length - 1, Math.max(0, real.findIndex((one) => one === chosen) + step))];
      if (step && next) choose(next);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [tasks, chosen, choose]);
}

function RunFacts({ run }: { run: RunModel }) {
  const reference = run.pipeline_version_reference;
  const pipeline = usePipeline(reference?.pipeline_id);
  const experiment = useExperiment(run.experiment_id);
  const parameters = Object.entries(run.runtime_config?.parameters ?? {});
  const metrics = Object.entries(metricsOf(run));
  const start = moment(run.created_at);
  const shared = run.plugins_output?.["ferroflow.io/shared-paths"]?.entries?.paths?.value;
  const mounts = run.plugins_input?.["ferroflow.io/mounts"]?.mounts;
  return (
    <Facts
      items={[
        { name: t.run.started, value: start === undefined ? t.none : <span title={absolute(start)}>{t.run.startedAt(clock(start), <Since at={start} />)}</span> },
        { name: t.run.duration, value: <Lasting start={start} end={isOver(run.state) ? moment(run.finished_at) : undefined} /> },
        ...(reference?.pipeline_id ? [{ name: t.run.pipeline, value: <a href={page.pipeline(reference.pipeline_id, reference.pipeline_version_id)}>{pipeline.data?.display_name ?? pipeline.data?.name ?? t.act.open}</a> }] : []),
        ...(experiment.data && run.experiment_id ? [{ name: t.run.experiment, value: <a href={page.experiment(run.experiment_id)}>{experiment.data.display_name}</a> }] : []),
        ...(parameters.length > 0 ? [{ name: t.run.parameters, value: <code className="wrap-any">{parameters.map(([key, value]) => `${key}=${plain(value)}`).join("  ")}</code> }] : []),
        ...(metrics.length > 0 ? [{ name: t.run.metrics, value: <code className="wrap-any">{metrics.map(([key, value]) => `${key}=${short(value)}`).join("  ")}</code> }] : []),
        ...(Array.isArray(shared) ? [{ name: t.run.shared, value: <code>{shared.join(", ")}</code> }] : []),
        ...(mounts?.length ? [{ name: t.run.mounts, value: <code title={mounts.map((mount) => mount.hostPath).join(", ")}>{mounts.map((mount) => mount.mountPath).join(", ")}</code> }] : []),
      ]}
    />
  );
}
