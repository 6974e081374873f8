// The list of runs, live; filter and sort are part of the address and are the server's work.
import { useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { call, post } from "../api/client";
import { readFilter } from "../api/filter";
import { isOver, type Run } from "../api/model";
import { api, page } from "../api/paths";
import { LIVE_RUNS, NEWEST, useRuns } from "../api/queries";
import { setQuery } from "../router";
import { useAround } from "../shell/Shell";
import { Filter } from "../ui/Filter";
import { Button, Confirm, Empty, Head, Loading, Problem, StateChip, useTitle } from "../ui/parts";
import { RunTable } from "./RunTable";

const QUICK = [
  { word: "", name: "All" },
  { word: "state:live", name: "Live" },
  { word: "state:succeeded", name: "Succeeded" },
  { word: "state:failed", name: "Failed" },
  { word: "is:archived", name: "Archived" },
];
const isQuick = (word: string) => word.startsWith("state:") || word.startsWith("is:");

export function Runs({ query }: { query: URLSearchParams }) {
  const { session, namespaces } = useAround();
  const typed = query.get("filter") ?? "";
  const sort = query.get("sort") ?? NEWEST;
  const { filter, problems } = useMemo(() => readFilter(typed, Math.floor(Date.now() / 60_000) * 60_000), [typed]);
  const runs = useRuns(filter, sort);
  const live = useRuns(LIVE_RUNS, NEWEST, 20).total;
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  useTitle(live > 0 ? `● ${live} live · Runs` : "Runs", live > 0 ? "running" : undefined);
  const words = typed.split(/\s+/).filter(Boolean);
  const choose = (id: string) =>
    setChosen((old) => {
      const next = new Set(old);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  const isElsewhere = namespaces.chosen !== session.namespace;
  return (
    <div className="page fill">
      <Head title="Runs" chip={live > 0 ? <StateChip state="RUNNING">{live} live</StateChip> : undefined} actions={<Button href={page.pipelines} kind="primary">New run</Button>} />
      {isElsewhere ? (
        <Empty title={`No runs in ${namespaces.chosen}`}>
          <p>Pipelines keeps its runs, and the pods of their steps, in namespace {session.namespace}.</p>
          <Button onClick={() => namespaces.choose(session.namespace)}>Show {session.namespace}</Button>
        </Empty>
      ) : (
        <>
          <div className="filters">
            <div role="group" aria-label="State" className="segments">
              {QUICK.map(({ word, name }) => {
                const others = words.filter((one) => !isQuick(one));
                const isOn = word === "" ? words.length === others.length : words.includes(word);
                return <button key={name} type="button" aria-pressed={isOn} onClick={() => setQuery({ filter: [word, ...others].filter(Boolean).join(" ") })}>{name}</button>;
              })}
            </div>
            <Filter label="Filter runs" hint="name, state:failed, after:2d" value={typed} change={(filter) => setQuery({ filter })} problems={problems} />
            <span className="mute num count" role="status">{runs.isSuccess ? `${runs.total} ${runs.total === 1 ? "run" : "runs"}` : ""}</span>
          </div>
          {chosen.size > 0 && <Bulk runs={runs.list.filter((run) => chosen.has(run.run_id))} isArchived={filter.isArchived ?? false} clear={() => setChosen(new Set())} />}
          {runs.isPending && <Loading what="runs" />}
          {runs.isError && <Problem error={runs.error} doing="Reading the runs" retry={() => void runs.refetch()} />}
          {runs.isSuccess && runs.list.length === 0 && (typed ? <Empty title="No run matches"><p>Nothing fits “{typed}”.</p><Button onClick={() => setQuery({ filter: undefined })}>Show all runs</Button></Empty> : <Empty title="No run yet" command="kfctl run pipeline.py --follow"><p>A run is one execution of a pipeline. Start one from a terminal, from Python, or from a pipeline’s page.</p><Button href={page.pipelines}>Pipelines</Button></Empty>)}
          {runs.list.length > 0 && <RunTable runs={runs.list} view={typed} total={runs.total} sort={sort} onSort={(sort) => setQuery({ sort })} chosen={chosen} onChoose={choose} more={runs.hasNextPage && !runs.isFetchingNextPage ? () => void runs.fetchNextPage() : undefined} />}
        </>
      )}
    </div>
  );
}

/** What can be done to several runs at once. */
function Bulk({ runs, isArchived, clear }: { runs: Run[]; isArchived: boolean; clear: () => void }) {
  const cache = useQueryClient();
  const [asks, setAsks] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const over = runs.filter((run) => isOver(run.state));
  const live = runs.length - over.length;
  const each = async (list: Run[], act: (run: Run) => Promise<unknown>) => {
    setFailure(undefined);
    setAsks(false);
    const results = await Promise.allSettled(list.map(act));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) setFailure(failed.reason);
    else clear();
    await cache.invalidateQueries({ queryKey: ["runs"] });
  };
  return (
    <div className="bulk" role="region" aria-label="Chosen runs">
      <span>{runs.length} chosen</span>
      <Button onClick={() => void each(runs, (run) => post(api.act(run.run_id, isArchived ? "unarchive" : "archive")))}>{isArchived ? "Restore" : "Archive"}</Button>
      {live > 0 && <Button onClick={() => void each(runs.filter((run) => !isOver(run.state)), (run) => post(api.act(run.run_id, "terminate")))}>Terminate {live}</Button>}
      <Button onClick={() => setAsks(true)}>Delete…</Button>
      <Button kind="quiet" onClick={clear}>Choose none</Button>
      {failure !== undefined && <Problem error={failure} doing="At least one of these" />}
      {asks && (
        <Confirm title={`Delete ${runs.length === 1 ? (runs[0]?.display_name ?? "the run") : `${runs.length} runs`}?`} action="Delete" run={() => void each(runs, (run) => call(api.oneRun(run.run_id), { method: "DELETE" }))} close={() => setAsks(false)}>
          Their steps, logs and places in lists are lost for good. Archive keeps them out of sight instead.
        </Confirm>
      )}
    </div>
  );
}
