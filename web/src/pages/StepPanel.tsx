// Everything about one step: why it failed, its log, what went in and out, events, attempts.
import { useMemo } from "react";
import { useLog } from "../api/log";
import { type Bindings, isOver, moment, type Run, seenAt, type Task } from "../api/model";
import { api, page } from "../api/paths";
import { useRunOnce } from "../api/queries";
import { usePodEvents } from "../api/watch";
import { bytes, cause, clock, plain, sentence } from "../format";
import { document as documentOf, flatten, steps } from "../graph/document";
import { iterations, stepPath } from "../graph/state";
import { setQuery } from "../router";
import { LogView, plainLine } from "../ui/LogView";
import { Button, CopyButton, KeyValues, Lasting, Since, StateChip, Tabs } from "../ui/parts";

interface Props {
  run: Run;
  task: Task;
  tasks: Task[];
  tab: string;
  /** A moment to show in the log. */
  at?: number;
  namespace: string;
  retry?: () => void;
  stop?: () => void;
  choose: (task: Task) => void;
}

export function StepPanel({ run, task, tasks, tab, at, namespace, retry, stop, choose }: Props) {
  const attempts = task.status_metadata?.custom_properties?.attempts ?? [];
  const pod = attempts.at(-1)?.pod ?? task.pods?.at(-1)?.name;
  const over = isOver(task.state);
  const log = useLog(api.log(run.run_id, task.task_id, { follow: true, timestamps: true }), over ? "over" : `${attempts.length} ${task.state === "RUNNING"}`);
  const { items: events, error: eventsError, isComplete } = usePodEvents(namespace, pod);
  const same = tasks.filter((one) => stepPath(one) === stepPath(task));
  const origin = task.status_metadata?.custom_properties?.cached_from;
  const message = task.status_metadata?.message;
  const retryAt = moment(task.status_metadata?.custom_properties?.retry_at);
  const fallbacks = new Map(events.filter((event) => event.reason?.endsWith("Fallback")).map((event) => [event.reason, event]));
  return (
    <>
      <div className="side-head">
        <h2>{task.display_name ?? task.name}</h2>
        <StateChip state={task.state} />
        <span className="mute">
          {attempts.length > 1 && `attempt ${attempts.length} · `}
          {moment(attempts.at(-1)?.start_time ?? task.start_time) !== undefined && task.state !== "SKIPPED" && (
            <Lasting start={moment(attempts.at(-1)?.start_time) ?? moment(task.start_time)} end={over ? moment(task.end_time) : undefined} />
          )}
        </span>
        {same.length > 1 && (
          <label className="iteration">
            <span className="mute">iteration</span>
            <select value={task.task_id} onChange={(event) => { const one = same.find((other) => other.task_id === event.target.value); if (one) choose(one); }}>
              {same.map((one) => (
                <option key={one.task_id} value={one.task_id}>
                  {iterations(one).join(", ")} · {(one.state ?? "").toLowerCase()}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {task.state === "FAILED" && <Failure task={task} tasks={tasks} tail={log.text} retry={retry} stop={stop} choose={choose} />}
      {fallbacks.size > 0 && (
        <div className="card attention">
          <h3>Runs with less than it asks for</h3>
          {[...fallbacks].map(([reason, event]) => (
            <p key={reason}>{event.message}</p>
          ))}
        </div>
      )}
      {retryAt !== undefined && !over && (
        <div className="card attention">
          <h3>Waits to be tried again at {clock(retryAt)}</h3>
          {attempts.at(-1)?.message && <p>{cause(attempts.at(-1)?.message ?? "")}</p>}
        </div>
      )}
      {origin && <Cached origin={origin} />}
      {task.state === "SKIPPED" && message && <div className="card waiting"><h3>Not run</h3><p>{sentence(message.replace(/^not run: /, ""))}</p></div>}
      <Tabs
        label="About this step"
        tabs={[
          { id: "log", name: "Log" },
          { id: "inputs", name: "Inputs" },
          { id: "outputs", name: "Outputs" },
          { id: "events", name: <>Events {events.length > 0 && <span className="mute">{events.length}</span>}</> },
          { id: "details", name: "Details" },
        ]}
        chosen={tab}
        choose={(id) => setQuery({ tab: id })}
      />
      <div className="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
        {tab === "log" && <LogView text={log.text} error={log.error} isLive={log.isReading && !over} at={at} download={api.log(run.run_id, task.task_id, {})} />}
        {tab === "inputs" && <Bound bindings={task.inputs} none="This step takes no inputs." />}
        {tab === "outputs" && <Bound bindings={task.outputs} none={over ? "This step gave no outputs." : "Outputs appear when the step has ended."} />}
        {tab === "events" &&
          (eventsError ? (
            <p className="note failed-text">The events cannot be read: {eventsError.message}</p>
          ) : events.length === 0 ? (
            <p className="note mute">{pod && !isComplete ? "Reading…" : pod ? "The cluster has no events of this pod any more." : "No pod was made for this step."}</p>
          ) : (
            <ol className="events">
              {events.map((event) => {
                const at = seenAt(event);
                return (
                  <li key={event.metadata?.uid}>
                    <span className="mute num">{at === undefined ? "" : clock(at)}</span> <b className={event.type === "Warning" ? "attention-text" : ""}>{event.reason}</b> {event.message}{(event.count ?? 1) > 1 && <span className="mute"> ({event.count} times)</span>}
                  </li>
                );
              })}
            </ol>
          ))}
        {tab === "details" && <Details run={run} task={task} namespace={namespace} pod={pod} />}
      </div>
    </>
  );
}

function Failure({ task, tasks, tail, retry, stop, choose }: { task: Task; tasks: Task[]; tail: string; retry?: () => void; stop?: () => void; choose: (task: Task) => void }) {
  const attempt = task.status_metadata?.custom_properties?.attempts?.at(-1);
  const inner = tasks.find((one) => one.state === "FAILED" && one.type === "RUNTIME" && one.scope_path?.startsWith(`${task.scope_path}.`));
  const lines = tail.trimEnd().split("\n").slice(-4).map(plainLine).join("\n");
  return (
    <div className="card failed" role="region" aria-label="Why it failed">
      <h3>{cause(task.status_metadata?.message ?? attempt?.message ?? "the step failed")}</h3>
      {attempt?.exit_code !== undefined && <p>Exit code {attempt.exit_code}</p>}
      {lines && <pre tabIndex={0}>{lines}</pre>}
      <div className="row">
        {inner && <Button onClick={() => choose(inner)}>Show the step that failed</Button>}
        {retry && <Button onClick={retry} kind="primary">Retry from here</Button>}
        {stop && <Button onClick={stop}>Terminate the rest</Button>}
      </div>
    </div>
  );
}

/** Why a step did not run: an earlier one had the same code and inputs. */
function Cached({ origin }: { origin: { run_id: string; task_id: string } }) {
  const run = useRunOnce(origin.run_id);
  const at = moment(run.data?.created_at);
  return (
    <div className="card cached">
      <h3>Taken from an earlier run</h3>
      <p>
        Same code and same inputs gave these outputs before, in{" "}
        {run.isError ? <>run {origin.run_id.slice(0, 8)}, which is deleted</> : <a href={page.run(origin.run_id, origin.task_id)}>{run.data?.display_name ?? "another run"}</a>}
        {at !== undefined && <> (<Since at={at} />)</>}. To run it anyway, switch its caching off in the pipeline: <code>task.set_caching_options(False)</code>.
      </p>
    </div>
  );
}

function Bound({ bindings, none }: { bindings: Bindings | undefined; none: string }) {
  const parameters = bindings?.parameters ?? [];
  const artifacts = bindings?.artifacts ?? [];
  if (parameters.length + artifacts.length === 0) return <p className="note mute">{none}</p>;
  return (
    <div className="pad">
      {parameters.length > 0 && <h3 className="label">Parameters</h3>}
      <KeyValues items={parameters.map(({ parameter_key, value }) => ({ name: parameter_key, value: <code>{plain(value)}</code> }))} />
      {artifacts.length > 0 && <h3 className="label">Artifacts</h3>}
      <KeyValues
        items={artifacts.map(({ artifact_key, artifacts: list }) => ({
          name: artifact_key,
          value: (list ?? []).map((one, index) => {
            const address = one.uri ? api.artifact(one.uri) : undefined;
            return (
              <div key={one.artifact_id ?? index}>
                <span className="mute">{one.type} </span>
                {one.size_bytes && <span className="mute">{bytes(Number(one.size_bytes))} </span>}
                <code>{one.number_value ?? one.uri}</code> {one.uri && <CopyButton text={one.uri} what="address" />}
                {address && <a href={address} download>download</a>}
                {Object.entries(one.metadata ?? {}).map(([key, value]) => (
                  <div key={key}><span className="mute">{key}</span> <code>{plain(value)}</code></div>
                ))}
              </div>
            );
          }),
        }))}
      />
    </div>
  );
}

function Details({ run, task, namespace, pod }: { run: Run; task: Task; namespace: string; pod: string | undefined }) {
  const step = useMemo(() => {
    const ir = documentOf(run.pipeline_spec);
    return ir ? flatten(steps(ir)).find((one) => one.path === stepPath(task)) : undefined;
  }, [run.pipeline_spec, task]);
  const attempts = task.status_metadata?.custom_properties?.attempts ?? [];
  return (
    <div className="pad">
      <KeyValues
        items={[
          ...(step?.image ? [{ name: "Image", value: <code>{step.image}</code> }] : []),
          ...(step?.command?.length ? [{ name: "Command", value: <code className="clip">{step.command.join(" ")}</code> }] : []),
          ...(step?.condition ? [{ name: "Condition", value: <code>{step.condition}</code> }] : []),
          { name: "Pod", value: pod ? <><a href={page.pod(namespace, pod)}><code>{pod}</code></a> <CopyButton text={`kubectl describe pod -n ${namespace} ${pod}`} what="kubectl command" /></> : "none" },
          { name: "Step", value: <code>{task.scope_path}</code> },
          { name: "Id", value: <><code>{task.task_id}</code> <CopyButton text={task.task_id} what="id" /></> },
          ...attempts.map((attempt) => ({
            name: `Attempt ${(attempt.number ?? 0) + 1}`,
            value: <><Lasting start={moment(attempt.start_time)} end={moment(attempt.end_time)} />{attempt.exit_code !== undefined && ` · exit code ${attempt.exit_code}`}{attempt.message && ` · ${attempt.message}`}</>,
          })),
        ]}
      />
    </div>
  );
}
