// One run: graph, timeline and the chosen step side by side, live.
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useMemo, useState } from "react";
import { post } from "../api/client";
import { isOver, moment, type Run as RunModel, type Task } from "../api/model";
import { api, page } from "../api/paths";
import { useRun } from "../api/queries";
import { absolute, clock, plain } from "../format";
import { document as documentOf, steps as stepsOf } from "../graph/document";
import { Graph } from "../graph/Graph";
import { foremost, progress, statesByPath, stepPath } from "../graph/state";
import { setQuery } from "../router";
import { Timeline } from "../timeline/Timeline";
import { Button, Confirm, CopyMenu, Facts, Head, Lasting, Loading, Problem, Since, StateChip, toneOf, useTitle, wordOf } from "../ui/parts";
import { StepPanel } from "./StepPanel";

export function Run({ id, query, namespace }: { id: string; query: URLSearchParams; namespace: string }) {
  const run = useRun(id);
  if (run.isPending) return <Loading what="the run" />;
  if (run.isError) return <Problem error={run.error} doing="Reading the run" retry={() => void run.refetch()} />;
  return <Loaded run={run.data} query={query} namespace={namespace} />;
}

function Loaded({ run, query, namespace }: { run: RunModel; query: URLSearchParams; namespace: string }) {
  const cache = useQueryClient();
  const [asks, setAsks] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const tasks = useMemo(() => run.tasks ?? [], [run.tasks]);
  const graph = useMemo(() => {
    const ir = documentOf(run.pipeline_spec);
    return ir ? stepsOf(ir) : [];
  }, [run.pipeline_spec]);
  const states = useMemo(() => statesByPath(tasks), [tasks]);
  const wanted = query.get("step");
  const task = tasks.find((one) => one.task_id === wanted) ?? tasks.find((one) => one.name === wanted) ?? foremost(tasks);
  const chosenPath = task ? stepPath(task) : undefined;
  const { done, total } = progress(tasks);
  const name = run.display_name ?? run.run_id;
  const over = isOver(run.state);
  useTitle(over ? `${wordOf(run.state)} · ${name}` : `● ${done}/${total} ${name}`, toneOf(run.state));

  const choose = useCallback((one: Task) => setQuery({ step: one.task_id }), []);
  const choosePath = useCallback(
    (path: string) => {
      const list = states.get(path)?.tasks ?? [];
      const one = foremost(list) ?? list[0];
      if (one) choose(one);
    },
    [states, choose],
  );
  const act = (verb: "terminate" | "retry") => {
    setFailure(undefined);
    setAsks(false);
    post(api.act(run.run_id, verb))
      .then(() => cache.invalidateQueries({ queryKey: ["run", run.run_id] }))
      .catch(setFailure);
  };
  const parameters = Object.entries(run.runtime_config?.parameters ?? {});
  const start = moment(run.created_at);
  const shared = run.plugins_output?.["ferroflow.io/shared-paths"]?.entries?.paths?.value;
  const mounts = run.plugins_input?.["ferroflow.io/mounts"]?.mounts;
  const reference = run.pipeline_version_reference;
  return (
    <div className="page fill">
      <Head
        crumbs={[{ name: "Runs", href: page.runs }, { name: run.run_id.slice(0, 8) }]}
        title={name}
        chip={<StateChip state={run.state}>{over ? undefined : `${wordOf(run.state)} · ${done} of ${total}`}</StateChip>}
        actions={
          <>
            <CopyMenu
              items={[
                { name: "kfctl", text: `kfctl logs ${run.run_id} --follow` },
                { name: "Python", text: `import kfp\n\nrun = kfp.Client(host="${window.location.origin}").get_run("${run.run_id}")\nprint(run.state)` },
                { name: "curl", text: `curl '${window.location.origin}${api.run(run.run_id)}'` },
                { name: "Link", text: window.location.href },
              ]}
            />
            {reference?.pipeline_id && <Button href={page.newRun(reference.pipeline_id, reference.pipeline_version_id)}>Run again</Button>}
            {run.state === "FAILED" && <Button onClick={() => act("retry")}>Retry</Button>}
            {!over && run.state !== "CANCELING" && <Button onClick={() => setAsks(true)}>Terminate</Button>}
          </>
        }
        facts={
          <Facts
            items={[
              { name: "Started", value: start === undefined ? "–" : <span title={absolute(start)}>{clock(start)}, <Since at={start} /></span> },
              { name: "Duration", value: <Lasting start={start} end={over ? moment(run.finished_at) : undefined} /> },
              ...(reference?.pipeline_id ? [{ name: "Pipeline", value: <a href={page.pipeline(reference.pipeline_id, reference.pipeline_version_id)}>open</a> }] : []),
              ...(parameters.length > 0 ? [{ name: "Parameters", value: <code>{parameters.map(([key, value]) => `${key}=${plain(value)}`).join("  ")}</code> }] : []),
              ...(Array.isArray(shared) ? [{ name: "Shared paths", value: <code>{shared.join(", ")}</code> }] : []),
              ...(mounts?.length ? [{ name: "Mounts", value: <code title={mounts.map((mount) => mount.hostPath).join(", ")}>{mounts.map((mount) => mount.mountPath).join(", ")}</code> }] : []),
            ]}
          />
        }
      />
      {failure !== undefined && <Problem error={failure} doing="That" />}
      {asks && (
        <Confirm title={`Terminate ${name}?`} action="Terminate" run={() => act("terminate")} close={() => setAsks(false)}>
          Steps that run are stopped and what they have not written is lost. Finished steps keep their outputs; Retry continues from them.
        </Confirm>
      )}
      <div className="run-area">
        <div className="run-left">
          <div className="graph" role="region" aria-label="Graph">
            {graph.length > 0 ? <Graph steps={graph} states={states} chosen={chosenPath} choose={choosePath} /> : <p className="note mute">The run carries no readable document.</p>}
          </div>
          {tasks.length > 0 && <Timeline tasks={tasks} chosen={task?.task_id} choose={choose} />}
        </div>
        <aside className="side" aria-label="Chosen step">
          {task ? (
            <StepPanel key={task.task_id} run={run} task={task} tasks={tasks} tab={query.get("tab") ?? "log"} namespace={namespace} retry={run.state === "FAILED" ? () => act("retry") : undefined} stop={over ? undefined : () => setAsks(true)} choose={choose} />
          ) : (
            <p className="note mute">{run.error?.message ?? "Steps appear here as soon as the run begins."}</p>
          )}
        </aside>
      </div>
    </div>
  );
}
