// The pods of a namespace, and one of them: what Kubernetes says of it, its events, its log. Live.
import { useMemo } from "react";
import { remove } from "../api/client";
import { useLog } from "../api/log";
import { moment, type Pod as PodModel, seenAt } from "../api/model";
import { api, page, topic } from "../api/paths";
import { usePodEvents, useWatch } from "../api/watch";
import { clock } from "../format";
import { setQuery } from "../router";
import { useAround } from "../shell/Shell";
import { t } from "../strings";
import { Filter } from "../ui/Filter";
import { LogView } from "../ui/LogView";
import { CopyMenu } from "../ui/Menu";
import { Empty, Facts, Head, KeyValues, Loading, Since, Tabs, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Bulk, useChosen } from "./Bulk";
import { columnsOf, ListTools, pick } from "./ListTools";
import { podState } from "./podState";
import { Usage } from "./Usage";

const COLUMNS: Column<PodModel>[] = [
  { id: "name", name: t.pods.name, className: "name", cell: (pod) => pod.metadata?.name },
  { id: "state", name: t.pods.state, width: "150px", cell: (pod) => <PodChip pod={pod} /> },
  { id: "ready", name: t.pods.ready, width: "72px", className: "num", isWide: true, cell: (pod) => podState(pod).ready },
  { id: "restarts", name: t.pods.restarts, width: "80px", className: "num", isWide: true, cell: (pod) => podState(pod).restarts },
  { id: "ip", name: t.pods.address, width: "130px", isWide: true, className: "mute", cell: (pod) => <code>{pod.status?.podIP ?? t.none}</code> },
  { id: "age", name: t.pods.made, width: "112px", className: "num mute", cell: (pod) => <Since at={moment(pod.metadata?.creationTimestamp)} /> },
];

const AT_FIRST = COLUMNS.map(({ id }) => id);
const CHOICES = COLUMNS.map(({ id, name }) => ({ id, name: String(name), group: "fields" as const }));

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
  const { chosen, choose, chooseAll, clear } = useChosen();
  const rows = shown.filter((pod) => chosen.has(pod.metadata?.uid ?? ""));
  useTitle(t.pods.titleOf(namespace));
  return (
    <div className="page fill">
      <Head title={t.pods.title} crumbs={[{ name: t.shell.groups.machine }, { name: namespace }]} actions={<CopyMenu items={[{ name: t.copy.kubectl, text: `kubectl get pods -n ${namespace}` }, { name: t.copy.yaml, text: `kubectl get pods -n ${namespace} -o yaml` }, { name: t.copy.link, text: window.location.href }, { name: t.copy.curl, text: `curl '${window.location.origin}/api/k8s/api/v1/namespaces/${namespace}/pods'` }]} />} />
      <div className="filters">
        <Filter label={t.pods.filter} hint={t.pods.hint} value={text} change={(filter) => setQuery({ filter })} />
        <ListTools list="pods" address={page.pods(namespace)} query={query} choices={CHOICES} atFirst={AT_FIRST} />
        <span className="mute num count" role="status">{isComplete ? t.pods.count(shown.length) : ""}</span>
      </div>
      <Bulk
        label={t.pods.chosenRegion}
        count={rows.length}
        clear={clear}
        changed={() => Promise.resolve()}
        deeds={[{ name: t.act.deleteAsk, rows, act: (pod) => remove(api.pod(namespace, pod.metadata?.name ?? "")), asks: { title: t.pods.deleteSome(rows.length, rows[0]?.metadata?.name ?? ""), loses: t.pods.deleteLoses } }]}
      />
      {error && <div className="card failed" role="alert"><h3>{t.pods.unread}</h3><p>{error.message}</p></div>}
      {!error && !isComplete && <Loading what={t.loading.pods} />}
      {isComplete && shown.length === 0 && <Empty title={text ? t.pods.noMatch : t.pods.none(namespace)} command={text ? undefined : `kubectl get pods -n ${namespace} --watch`}><p>{text ? t.pods.changeFilter : t.pods.noneWhy}</p></Empty>}
      {shown.length > 0 && <Table label={t.pods.title} view={text} columns={pick(COLUMNS, columnsOf(query, AT_FIRST))} chosen={chosen} onChoose={choose} onChooseAll={(all) => (all ? chooseAll(shown.map((pod) => pod.metadata?.uid ?? "")) : clear())} rows={shown} keyOf={(pod) => pod.metadata?.uid ?? ""} nameOf={(pod) => pod.metadata?.name ?? ""} hrefOf={(pod) => page.pod(namespace, pod.metadata?.name ?? "")} />}
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
  const crumbs = [{ name: t.pods.title, href: page.pods(namespace) }, { name: namespace }];
  if (error) return <div className="card failed" role="alert"><h3>{t.pods.unreadOne}</h3><p>{error.message}</p></div>;
  if (!isComplete) return <Loading what={t.loading.pod} />;
  if (!pod)
    return (
      <div className="page">
        <Head crumbs={crumbs} title={name} />
        <Empty title={t.pods.gone}><p>{t.pods.goneWhy}</p></Empty>
      </div>
    );
  const conditions = (pod.status?.conditions ?? []).filter((one) => one.status === "False" && one.message);
  return (
    <div className="page fill">
      <Head
        crumbs={crumbs}
        title={name}
        chip={<PodChip pod={pod} />}
        actions={<CopyMenu items={[{ name: t.copy.kubectlLogs, text: `kubectl logs -n ${namespace} ${name} -c ${container ?? ""} --follow` }, { name: t.copy.kubectlDescribe, text: `kubectl describe pod -n ${namespace} ${name}` }, { name: t.copy.kubectlExec, text: `kubectl exec -it -n ${namespace} ${name} -c ${container ?? ""} -- sh` }, { name: t.copy.yaml, text: `kubectl get pod -n ${namespace} ${name} -o yaml` }]} />}
        facts={
          <Facts
            items={[
              { name: t.pods.made, value: <Since at={moment(pod.metadata?.creationTimestamp)} /> },
              { name: t.pods.node, value: pod.spec?.nodeName ?? t.pods.noneYet },
              { name: t.pods.address, value: <code>{pod.status?.podIP ?? t.pods.noneYet}</code> },
              { name: t.pods.account, value: pod.spec?.serviceAccountName ?? "default" },
              { name: t.pods.restarts, value: String(podState(pod).restarts) },
              ...(containers.length > 1 ? [{ name: t.pods.container, value: <select aria-label={t.pods.container} value={container} onChange={(event) => setQuery({ container: event.target.value })}>{containers.map((one) => <option key={one}>{one}</option>)}</select> }] : []),
            ]}
          />
        }
      />
      {conditions.filter((one) => one.reason === "Unschedulable").map((one) => <div className="card attention" key={one.type}><h3>{t.pods.waits}</h3><p>{one.message}</p></div>)}
      {status?.state?.waiting?.message && <div className="card attention"><h3>{status.state.waiting.reason}</h3><p>{status.state.waiting.message}</p></div>}
      <Tabs label={t.pods.about} tabs={[{ id: "log", name: t.step.tabs.log }, { id: "events", name: <>{t.step.tabs.events} {events.items.length > 0 && <span className="mute">{events.items.length}</span>}</> }, { id: "details", name: t.step.tabs.details }]} chosen={tab} choose={(id) => setQuery({ tab: id })} />
      <div className="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
        {tab === "log" && <Usage namespace={namespace} pod={name} isLive={isRunning} />}
        {tab === "log" && <LogView text={log.text} error={log.error} isLive={isRunning && log.isReading} download={api.podLog(namespace, name, container ?? "", false)} />}
        {tab === "events" && (events.items.length === 0 ? <p className="note mute">{t.step.eventsGone}</p> : <ol className="events">{events.items.map((event) => { const at = seenAt(event); return <li key={event.metadata?.uid}><span className="mute num">{at === undefined ? "" : clock(at)}</span> <b className={event.type === "Warning" ? "attention-text" : ""}>{event.reason}</b> {event.message}</li>; })}</ol>)}
        {tab === "details" && (
          <div className="pad">
            <KeyValues
              items={[
                ...(pod.spec?.containers ?? []).flatMap((one) => [
                  { name: t.pods.imageOf(one.name), value: <code>{one.image}</code> },
                  ...(one.command || one.args ? [{ name: t.pods.command, value: <code className="clip" tabIndex={0}>{[...(one.command ?? []), ...(one.args ?? [])].join(" ")}</code> }] : []),
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
