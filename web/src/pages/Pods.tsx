// The pods of a namespace, and one of them: what Kubernetes says of it, its events, its log. Live.
import { useMemo } from "react";
import { useLog } from "../api/log";
import { moment, type Pod as PodModel, seenAt } from "../api/model";
import { api, page, topic } from "../api/paths";
import { usePodEvents, useWatch } from "../api/watch";
import { clock } from "../format";
import { setQuery } from "../router";
import { useAround } from "../shell/Shell";
import { Filter } from "../ui/Filter";
import { LogView } from "../ui/LogView";
import { CopyMenu } from "../ui/Menu";
import { Empty, Facts, Head, KeyValues, Loading, Since, Tabs, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { podState } from "./podState";

const COLUMNS: Column<PodModel>[] = [
  { id: "name", name: "Name", className: "name", cell: (pod) => pod.metadata?.name },
  { id: "state", name: "State", width: "150px", cell: (pod) => <PodChip pod={pod} /> },
  { id: "ready", name: "Ready", width: "72px", className: "num", isWide: true, cell: (pod) => podState(pod).ready },
  { id: "restarts", name: "Restarts", width: "80px", className: "num", isWide: true, cell: (pod) => podState(pod).restarts },
  { id: "ip", name: "Address", width: "130px", isWide: true, className: "mute", cell: (pod) => <code>{pod.status?.podIP ?? "–"}</code> },
  { id: "age", name: "Made", width: "104px", className: "num mute", cell: (pod) => <Since at={moment(pod.metadata?.creationTimestamp)} /> },
];

function PodChip({ pod }: { pod: PodModel }) {
  const { word, tone } = podState(pod);
  return <span className={`chip ${tone}`}>{word}</span>;
}

export function Pods({ query }: { query: URLSearchParams }) {
  const { namespaces } = useAround();
  return <PodsOf key={namespaces.chosen} namespace={namespaces.chosen} query={query} />;
}

function PodsOf({ namespace, query }: { namespace: string; query: URLSearchParams }) {
  const { items, isComplete, error } = useWatch<PodModel>(topic.pods(namespace));
  const text = query.get("filter") ?? "";
  const shown = useMemo(
    () =>
      items
        .filter((pod) => `${pod.metadata?.name} ${podState(pod).word}`.toLowerCase().includes(text.toLowerCase()))
        .sort((a, b) => (moment(b.metadata?.creationTimestamp) ?? 0) - (moment(a.metadata?.creationTimestamp) ?? 0) || (a.metadata?.name ?? "").localeCompare(b.metadata?.name ?? "")),
    [items, text],
  );
  useTitle(`Pods of ${namespace}`);
  return (
    <div className="page fill">
      <Head title="Pods" crumbs={[{ name: "Machine" }, { name: namespace }]} actions={<CopyMenu items={[{ name: "kubectl", text: `kubectl get pods -n ${namespace}` }, { name: "curl", text: `curl '${window.location.origin}/api/k8s/api/v1/namespaces/${namespace}/pods'` }]} />} />
      <div className="filters"><Filter label="Filter pods" hint="name or state" value={text} change={(filter) => setQuery({ filter })} /><span className="mute num count" role="status">{isComplete ? `${shown.length} ${shown.length === 1 ? "pod" : "pods"}` : ""}</span></div>
      {error && <div className="card failed" role="alert"><h3>The pods cannot be read</h3><p>{error.message}</p></div>}
      {!error && !isComplete && <Loading what="pods" />}
      {isComplete && shown.length === 0 && <Empty title={text ? "No pod matches" : `No pods in ${namespace}`} command={text ? undefined : `kubectl get pods -n ${namespace} --watch`}><p>{text ? "Change the filter." : "Steps of pipelines run as pods; so do the platform’s own parts, in kubeflow."}</p></Empty>}
      {shown.length > 0 && <Table label="Pods" view={text} columns={COLUMNS} rows={shown} keyOf={(pod) => pod.metadata?.uid ?? ""} nameOf={(pod) => pod.metadata?.name ?? ""} hrefOf={(pod) => page.pod(namespace, pod.metadata?.name ?? "")} />}
    </div>
  );
}

export function Pod({ namespace, name, query }: { namespace: string; name: string; query: URLSearchParams }) {
  const { items, isComplete, error } = useWatch<PodModel>(topic.pod(namespace, name));
  const events = usePodEvents(namespace, name);
  const pod = items[0];
  const containers = [...(pod?.spec?.initContainers ?? []), ...(pod?.spec?.containers ?? [])].map((one) => one.name);
  const container = query.get("container") ?? pod?.spec?.containers[0]?.name;
  const status = [...(pod?.status?.initContainerStatuses ?? []), ...(pod?.status?.containerStatuses ?? [])].find((one) => one.name === container);
  const hasBegun = status?.state?.running !== undefined || status?.state?.terminated !== undefined || (status?.restartCount ?? 0) > 0;
  const isRunning = status?.state?.running !== undefined;
  const log = useLog(hasBegun && container ? api.podLog(namespace, name, container, isRunning) : undefined, `${status?.containerID} ${isRunning}`);
  const tab = query.get("tab") ?? "log";
  useTitle(name);
  const crumbs = [{ name: "Pods", href: page.pods(namespace) }, { name: namespace }];
  if (error) return <div className="card failed" role="alert"><h3>The pod cannot be read</h3><p>{error.message}</p></div>;
  if (!isComplete) return <Loading what="the pod" />;
  if (!pod)
    return (
      <div className="page">
        <Head crumbs={crumbs} title={name} />
        <Empty title="This pod is gone"><p>It ended and was taken away. The logs of a pipeline’s steps are kept with their run.</p></Empty>
      </div>
    );
  const conditions = (pod.status?.conditions ?? []).filter((one) => one.status === "False" && one.message);
  return (
    <div className="page fill">
      <Head
        crumbs={crumbs}
        title={name}
        chip={<PodChip pod={pod} />}
        actions={<CopyMenu items={[{ name: "kubectl logs", text: `kubectl logs -n ${namespace} ${name} -c ${container ?? ""} --follow` }, { name: "kubectl describe", text: `kubectl describe pod -n ${namespace} ${name}` }, { name: "kubectl exec", text: `kubectl exec -it -n ${namespace} ${name} -c ${container ?? ""} -- sh` }, { name: "YAML", text: `kubectl get pod -n ${namespace} ${name} -o yaml` }]} />}
        facts={
          <Facts
            items={[
              { name: "Made", value: <Since at={moment(pod.metadata?.creationTimestamp)} /> },
              { name: "Node", value: pod.spec?.nodeName ?? "none yet" },
              { name: "Address", value: <code>{pod.status?.podIP ?? "none yet"}</code> },
              { name: "Service account", value: pod.spec?.serviceAccountName ?? "default" },
              { name: "Restarts", value: String(podState(pod).restarts) },
              ...(containers.length > 1 ? [{ name: "Container", value: <select aria-label="Container" value={container} onChange={(event) => setQuery({ container: event.target.value })}>{containers.map((one) => <option key={one}>{one}</option>)}</select> }] : []),
            ]}
          />
        }
      />
      {conditions.filter((one) => one.reason === "Unschedulable").map((one) => <div className="card attention" key={one.type}><h3>Waits for a place</h3><p>{one.message}</p></div>)}
      {status?.state?.waiting?.message && <div className="card attention"><h3>{status.state.waiting.reason}</h3><p>{status.state.waiting.message}</p></div>}
      <Tabs label="About this pod" tabs={[{ id: "log", name: "Log" }, { id: "events", name: <>Events {events.items.length > 0 && <span className="mute">{events.items.length}</span>}</> }, { id: "details", name: "Details" }]} chosen={tab} choose={(id) => setQuery({ tab: id })} />
      <div className="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
        {tab === "log" && <LogView text={log.text} error={log.error} isLive={isRunning && log.isReading} download={api.podLog(namespace, name, container ?? "", false)} />}
        {tab === "events" && (events.items.length === 0 ? <p className="note mute">The cluster has no events of this pod any more.</p> : <ol className="events">{events.items.map((event) => { const at = seenAt(event); return <li key={event.metadata?.uid}><span className="mute num">{at === undefined ? "" : clock(at)}</span> <b className={event.type === "Warning" ? "attention-text" : ""}>{event.reason}</b> {event.message}</li>; })}</ol>)}
        {tab === "details" && (
          <div className="pad">
            <KeyValues
              items={[
                ...(pod.spec?.containers ?? []).flatMap((one) => [
                  { name: `Image of ${one.name}`, value: <code>{one.image}</code> },
                  ...(one.command || one.args ? [{ name: "Command", value: <code className="clip">{[...(one.command ?? []), ...(one.args ?? [])].join(" ")}</code> }] : []),
                ]),
                ...(pod.status?.conditions ?? []).map((one) => ({ name: one.type, value: <>{one.status} <span className="mute">{one.message ?? one.reason}</span></> })),
                ...Object.entries(pod.metadata?.labels ?? {}).map(([key, value]) => ({ name: key, value: <code>{value}</code> })),
              ]}
            />
          </div>
        )}
      </div>
    </div>
  );
}
