// Everything about one step: why it failed, its log, what went in and out, events, attempts.
import { useId, useMemo, useState } from "react";
import { useLog } from "../api/log";
import { type Bindings, isOver, moment, type Run, seenAt, type Task } from "../api/model";
import { api, page } from "../api/paths";
import { useLastRun, useRunOnce } from "../api/queries";
import { usePodEvents } from "../api/watch";
import { bytes, cause, clock, plain, sentence } from "../format";
import { document as documentOf } from "../graph/document";
import { iterations, stepPath } from "../graph/state";
import { stepOf, uncached } from "../graph/uncached";
import { setQuery } from "../router";
import { t } from "../strings";
import { Dialog } from "../ui/Dialog";
import { LogView, plainLine } from "../ui/LogView";
import { CopyMenu } from "../ui/Menu";
import { Button, Command, CopyButton, KeyValues, Lasting, Since, StateChip, Tabs, wordOf } from "../ui/parts";
import { Usage } from "./Usage";

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
  const [shell, setShell] = useState(false);
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
          {attempts.length > 1 && t.step.attempt(attempts.length)}
          {moment(attempts.at(-1)?.start_time ?? task.start_time) !== undefined && task.state !== "SKIPPED" && (
            <Lasting start={moment(attempts.at(-1)?.start_time) ?? moment(task.start_time)} end={over ? moment(task.end_time) : undefined} />
          )}
        </span>
        <span className="side-actions">
          {pod && task.type === "RUNTIME" && <Button kind="quiet" onClick={() => setShell(true)}>{t.step.shell}</Button>}
          <CopyMenu
            isQuiet
            items={[
              { name: t.copy.kfctl, text: `kfctl logs ${run.run_id} ${task.name} --follow` },
              ...(pod
                ? [
                    { name: t.copy.kubectlLogs, text: `kubectl logs -n ${namespace} ${pod} --all-containers --follow` },
                    { name: t.copy.kubectlDescribe, text: `kubectl describe pod -n ${namespace} ${pod}` },
                    { name: t.copy.yaml, text: `kubectl get pod -n ${namespace} ${pod} -o yaml` },
                  ]
                : []),
              { name: t.copy.python, text: `import kfp\n\nrun = kfp.Client(host="${window.location.origin}").get_run("${run.run_id}")\nprint([task for task in run.run_details.task_details if task.task_id == "${task.task_id}"])` },
              { name: t.copy.curl, text: `curl '${window.location.origin}${api.log(run.run_id, task.task_id, {})}'` },
              { name: t.copy.link, text: window.location.origin + window.location.pathname + page.run(run.run_id, task.task_id) },
            ]}
          />
        </span>
        {shell && pod && <Shell task={task} namespace={namespace} pod={pod} isLive={task.state === "RUNNING"} image={stepOf(run, task)?.image} close={() => setShell(false)} />}
        {same.length > 1 && (
          <label className="iteration">
            <span className="mute">{t.step.iteration}</span>
            <select value={task.task_id} onChange={(event) => { const one = same.find((other) => other.task_id === event.target.value); if (one) choose(one); }}>
              {same.map((one) => (
                <option key={one.task_id} value={one.task_id}>
                  {t.step.iterationOf(iterations(one), wordOf(one.state).toLowerCase())}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {task.state === "FAILED" && <Failure run={run} task={task} tasks={tasks} tail={log.text} retry={retry} stop={stop} choose={choose} />}
      {fallbacks.size > 0 && (
        <div className="card attention">
          <h3>{t.step.less}</h3>
          {[...fallbacks].map(([reason, event]) => (
            <p key={reason}>{event.message}</p>
          ))}
        </div>
      )}
      {retryAt !== undefined && !over && (
        <div className="card attention">
          <h3>{t.step.retryAt(clock(retryAt))}</h3>
          {attempts.at(-1)?.message && <p>{cause(attempts.at(-1)?.message ?? "")}</p>}
        </div>
      )}
      {origin && <Cached origin={origin} />}
      {tab === "details" && !origin && task.type === "RUNTIME" && moment(task.start_time) !== undefined && task.state !== "SKIPPED" && <Uncached run={run} task={task} />}
      {task.state === "SKIPPED" && message && <div className="card waiting"><h3>{t.step.skipped}</h3><p>{sentence(message.replace(/^not run: /, ""))}</p></div>}
      <Tabs
        label={t.step.about}
        tabs={[
          { id: "log", name: t.step.tabs.log },
          { id: "inputs", name: t.step.tabs.inputs },
          { id: "outputs", name: t.step.tabs.outputs },
          { id: "events", name: <>{t.step.tabs.events} {events.length > 0 && <span className="mute">{events.length}</span>}</> },
          { id: "details", name: t.step.tabs.details },
        ]}
        chosen={tab}
        choose={(id) => setQuery({ tab: id })}
      />
      <div className="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
        {tab === "log" && task.type === "RUNTIME" && <Usage key={pod} namespace={namespace} pod={pod} isLive={task.state === "RUNNING"} isClamped={fallbacks.size > 0} />}
        {tab === "log" && <LogView text={log.text} error={log.error} isLive={log.isReading && !over} at={at} download={api.log(run.run_id, task.task_id, {})} />}
        {tab === "inputs" && <Bound bindings={task.inputs} none={t.step.noInputs} />}
        {tab === "outputs" && <Bound bindings={task.outputs} none={over ? t.step.noOutputs : t.step.outputsLater} />}
        {tab === "events" &&
          (eventsError ? (
            <p className="note failed-text">{t.step.eventsUnread(eventsError.message)}</p>
          ) : events.length === 0 ? (
            <p className="note mute">{pod && !isComplete ? t.step.eventsReading : pod ? t.step.eventsGone : t.step.eventsNone}</p>
          ) : (
            <ol className="events">
              {events.map((event) => {
                const at = seenAt(event);
                return (
                  <li key={event.metadata?.uid}>
                    <span className="mute num">{at === undefined ? "" : clock(at)}</span> <b className={event.type === "Warning" ? "attention-text" : ""}>{event.reason}</b> {event.message}{(event.count ?? 1) > 1 && <span className="mute">{t.step.times(event.count ?? 1)}</span>}
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

/** What went wrong, in words first, then the evidence, then the ways out. */
function Failure({ run, task, tasks, tail, retry, stop, choose }: { run: Run; task: Task; tasks: Task[]; tail: string; retry?: () => void; stop?: () => void; choose: (task: Task) => void }) {
  const attempt = task.status_metadata?.custom_properties?.attempts?.at(-1);
  const inner = tasks.find((one) => one.state === "FAILED" && one.type === "RUNTIME" && one.scope_path?.startsWith(`${task.scope_path}.`));
  const message = task.status_metadata?.message ?? attempt?.message ?? t.step.failed;
  const lines = tail.trimEnd().split("\n").slice(-4).map(plainLine).join("\n");
  const isOutOfMemory = /ran out of memory|OOMKilled/.test(message) || attempt?.exit_code === 137;
  const hasDocument = documentOf(run.pipeline_spec) !== undefined;
  return (
    <div className="card failed" role="region" aria-label={t.step.why}>
      <h3>{cause(message)}</h3>
      {attempt?.exit_code !== undefined && <p>{t.step.exitCode(attempt.exit_code)}</p>}
      {lines && <pre tabIndex={0}>{lines}</pre>}
      <div className="row">
        {inner && <Button onClick={() => choose(inner)}>{t.step.showInner}</Button>}
        {isOutOfMemory && hasDocument && !inner && <Button href={page.raiseMemory(run.run_id, stepPath(task))} kind="primary">{t.step.raiseMemory}</Button>}
        {retry && <Button onClick={retry} kind={isOutOfMemory && hasDocument && !inner ? "plain" : "primary"}>{t.step.retry}</Button>}
        {hasDocument && <Button href={page.cloneRun(run.run_id)}>{t.step.editInputs}</Button>}
        {stop && <Button onClick={stop}>{t.step.stop}</Button>}
      </div>
    </div>
  );
}

/** Why a step did not run: an earlier one had the same code and inputs. */
function Cached({ origin }: { origin: { run_id: string; task_id: string } }) {
  const run = useRunOnce(origin.run_id);
  const at = moment(run.data?.created_at);
  const link = run.isError ? t.step.cachedDeleted(origin.run_id.slice(0, 8)) : <a href={page.run(origin.run_id, origin.task_id)}>{run.data?.display_name ?? t.step.cachedOther}</a>;
  return (
    <div className="card cached">
      <h3>{t.step.cached}</h3>
      <p>{t.step.cachedFrom(link, at === undefined ? "" : t.step.cachedSince(<Since at={at} />), (text) => <code>{text}</code>)}</p>
    </div>
  );
}

/** Why a step ran although results are kept. */
function Uncached({ run, task }: { run: Run; task: Task }) {
  const last = useLastRun(run, true);
  if (last.data === undefined) return null;
  const reason = uncached(run, task, last.data);
  const link = last.data && <a href={page.run(last.data.run_id)}>{last.data.display_name ?? last.data.run_id.slice(0, 8)}</a>;
  const words = {
    off: t.step.notCachedOff,
    first: t.step.notCachedFirst,
    new: t.step.notCachedNew(link),
    code: t.step.notCachedCode(link),
    inputs: t.step.notCachedInputs(link, reason.why === "inputs" ? reason.inputs.map(({ name, before, now }) => t.step.notCachedInput(name, before || t.none, now || t.none)) : []),
    unknown: t.step.notCachedUnknown(link),
  };
  return (
    <div className="card waiting">
      <h3>{t.step.notCached}</h3>
      <p>{words[reason.why]}</p>
    </div>
  );
}

/** A shell where the step runs, or where it ran: commands to copy, since a shell belongs into a terminal. */
function Shell({ task, namespace, pod, isLive, image, close }: { task: Task; namespace: string; pod: string; isLive: boolean; image: string | undefined; close: () => void }) {
  const name = task.display_name ?? task.name;
  const id = useId();
  return (
    <Dialog close={close} labelledBy={id}>
      {(shut) => (
        <>
          <h2 id={id}>{t.step.shellTitle(name)}</h2>
          <p className="mute">{isLive ? t.step.shellWhy : t.step.shellOver}</p>
          <Command text={isLive ? `kubectl exec -it -n ${namespace} ${pod} -c main -- sh` : `kubectl run -it --rm shell -n ${namespace} --image=${image ?? ""} --restart=Never --command -- sh`} />
          <div className="row end"><button type="button" className="button" data-first onClick={shut}>{t.act.close}</button></div>
        </>
      )}
    </Dialog>
  );
}

function Bound({ bindings, none }: { bindings: Bindings | undefined; none: string }) {
  const parameters = bindings?.parameters ?? [];
  const artifacts = bindings?.artifacts ?? [];
  if (parameters.length + artifacts.length === 0) return <p className="note mute">{none}</p>;
  return (
    <div className="pad">
      {parameters.length > 0 && <h3 className="label">{t.step.parameters}</h3>}
      <KeyValues items={parameters.map(({ parameter_key, value }) => ({ name: parameter_key, value: <code>{plain(value)}</code> }))} />
      {artifacts.length > 0 && <h3 className="label">{t.step.artifacts}</h3>}
      <KeyValues
        items={artifacts.map(({ artifact_key, artifacts: list }) => ({
          name: artifact_key,
          value: (list ?? []).map((one, index) => {
            const address = one.uri ? api.artifact(one.uri) : undefined;
            return (
              <div key={one.artifact_id ?? index}>
                <span className="mute">{one.type} </span>
                {one.size_bytes && <span className="mute">{bytes(Number(one.size_bytes))} </span>}
                <code>{one.number_value ?? one.uri}</code> {one.uri && <CopyButton text={one.uri} what={t.copy.address} />}
                {address && <a href={address} download>{t.act.download}</a>}
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
  const step = useMemo(() => stepOf(run, task), [run, task]);
  const attempts = task.status_metadata?.custom_properties?.attempts ?? [];
  return (
    <div className="pad">
      <KeyValues
        items={[
          ...(step?.image ? [{ name: t.step.image, value: <code>{step.image}</code> }] : []),
          ...(step?.command?.length ? [{ name: t.step.command, value: <code className="clip" tabIndex={0}>{step.command.join(" ")}</code> }] : []),
          ...(step?.condition ? [{ name: t.step.condition, value: <code>{step.condition}</code> }] : []),
          ...(step ? [{ name: t.step.caching, value: step.isCached ? t.step.cachingOn : t.step.cachingOff }] : []),
          { name: t.step.pod, value: pod ? <><a href={page.pod(namespace, pod)}><code>{pod}</code></a> <CopyButton text={`kubectl describe pod -n ${namespace} ${pod}`} what={t.copy.kubectl} /></> : t.step.noPod },
          { name: t.step.place, value: <code>{task.scope_path}</code> },
          { name: t.step.id, value: <><code>{task.task_id}</code> <CopyButton text={task.task_id} what={t.copy.id} /></> },
          ...attempts.map((attempt) => ({
            name: t.step.attemptNumber((attempt.number ?? 0) + 1),
            value: <><Lasting start={moment(attempt.start_time)} end={moment(attempt.end_time)} />{attempt.exit_code !== undefined && t.step.attemptExit(attempt.exit_code)}{attempt.message && t.step.attemptSaid(attempt.message)}</>,
          })),
        ]}
      />
    </div>
  );
}
