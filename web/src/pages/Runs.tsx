// The list of runs, live; filter, sort and columns are part of the address, and the first two are the server's work.
import { useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { post, remove } from "../api/client";
import { isChip, predicates, readFilter, subjectOf } from "../api/filter";
import { isOver, type Run } from "../api/model";
import { api, page } from "../api/paths";
import { LIVE_RUNS, NEWEST, useRuns } from "../api/queries";
import { setQuery } from "../router";
import { useAround } from "../shell/Shell";
import { t } from "../strings";
import { Filter } from "../ui/Filter";
import { CopyMenu } from "../ui/Menu";
import { Button, Empty, Head, Loading, Problem, StateChip, useTitle } from "../ui/parts";
import { Bulk, type Deed, useChosen } from "./Bulk";
import { columnsOf, ListTools } from "./ListTools";
import { RUN_COLUMNS, runChoices, RunTable } from "./RunTable";

const QUICK = [
  { word: "", name: t.runs.quick.all },
  { word: "state:live", name: t.runs.quick.live },
  { word: "state:succeeded", name: t.runs.quick.succeeded },
  { word: "state:failed", name: t.runs.quick.failed },
  { word: "is:archived", name: t.runs.quick.archived },
];
const isQuick = (word: string) => word.startsWith("state:") || word.startsWith("is:");

export function Runs({ query }: { query: URLSearchParams }) {
  const { session, namespaces } = useAround();
  const cache = useQueryClient();
  const typed = query.get("filter") ?? "";
  const sort = query.get("sort") ?? NEWEST;
  const asked = query.get("columns");
  const columns = useMemo(() => columnsOf(new URLSearchParams(asked === null ? "" : { columns: asked }), RUN_COLUMNS), [asked]);
  const { filter, problems } = useMemo(() => readFilter(typed, Math.floor(Date.now() / 60_000) * 60_000), [typed]);
  const runs = useRuns(filter, sort);
  const live = useRuns(LIVE_RUNS, NEWEST, 20).total;
  const { chosen, choose, chooseAll, clear } = useChosen();
  useTitle(live > 0 ? t.title.liveOn(live, t.runs.title) : t.runs.title, live > 0 ? "running" : undefined);
  const words = typed.split(/\s+/).filter(Boolean);
  const isElsewhere = namespaces.chosen !== session.namespace;
  const rows = runs.list.filter((run) => chosen.has(run.run_id));
  return (
    <div className="page fill">
      <Head
        title={t.runs.title}
        chip={live > 0 ? <StateChip state="RUNNING">{t.state.live(live)}</StateChip> : undefined}
        actions={
          <>
            <CopyMenu
              items={[
                { name: t.copy.kfctl, text: "kfctl runs" },
                { name: t.copy.python, text: `import json, kfp\n\nrunning = kfp.Client(host="${window.location.origin}").list_runs(sort_by="${sort}", filter=json.dumps(${JSON.stringify({ predicates: predicates(filter) })}))\nprint(running.runs)` },
                { name: t.copy.curl, text: `curl '${window.location.origin}${api.runs("", filter, sort)}'` },
                { name: t.copy.link, text: window.location.href },
              ]}
            />
            <Button href={page.pipelines} kind="primary">{t.runs.new}</Button>
          </>
        }
      />
      {isElsewhere ? (
        <Empty title={t.runs.elsewhere(namespaces.chosen)}>
          <p>{t.runs.elsewhereWhy(session.namespace)}</p>
          <Button onClick={() => namespaces.choose(session.namespace)}>{t.runs.show(session.namespace)}</Button>
        </Empty>
      ) : (
        <>
          <div className="filters">
            <div role="group" aria-label={t.runs.stateGroup} className="segments">
              {QUICK.map(({ word, name }) => {
                const others = words.filter((one) => !isQuick(one));
                const isOn = word === "" ? words.length === others.length : words.includes(word);
                return <button key={name} type="button" aria-pressed={isOn} onClick={() => setQuery({ filter: [word, ...others].filter(Boolean).join(" ") })}>{name}</button>;
              })}
            </div>
            <Filter label={t.runs.filter} hint={t.runs.hint} value={typed} change={(filter) => setQuery({ filter })} problems={problems} isChip={isChip} subjectOf={subjectOf} />
            <ListTools list="runs" address={page.runs} query={query} choices={runChoices(runs.list, columns)} atFirst={RUN_COLUMNS} hasValues />
            <span className="mute num count" role="status">{runs.isSuccess ? t.runs.count(runs.total) : ""}</span>
          </div>
          <Bulk label={t.runs.chosenRegion} count={chosen.size} deeds={deeds(rows, filter.isArchived ?? false)} clear={clear} changed={() => cache.invalidateQueries({ queryKey: ["runs"] })} />
          {runs.isPending && <Loading what={t.loading.runs} />}
          {runs.isError && <Problem error={runs.error} doing={t.home.reading} retry={() => void runs.refetch()} />}
          {runs.isSuccess && runs.list.length === 0 && (typed ? <Empty title={t.runs.noMatch}><p>{t.runs.nothingFits(typed)}</p><Button onClick={() => setQuery({ filter: undefined })}>{t.runs.showAll}</Button></Empty> : <Empty title={t.runs.none} command="kfctl run pipeline.py --follow"><p>{t.runs.noneWhy}</p><Button href={page.pipelines}>{t.page.pipelines}</Button></Empty>)}
          {runs.list.length > 0 && <RunTable runs={runs.list} columns={columns} view={typed} total={runs.total} sort={sort} onSort={(sort) => setQuery({ sort })} chosen={chosen} onChoose={choose} onChooseAll={(all) => (all ? chooseAll(runs.list.map((run) => run.run_id)) : clear())} more={runs.hasNextPage && !runs.isFetchingNextPage ? () => void runs.fetchNextPage() : undefined} />}
        </>
      )}
    </div>
  );
}

/** What can be done to several runs at once. */
function deeds(runs: Run[], isArchived: boolean): Deed<Run>[] {
  const live = runs.filter((run) => !isOver(run.state));
  const act = (verb: "archive" | "unarchive" | "terminate") => (run: Run) => post(api.act(run.run_id, verb));
  const archive = { name: t.act.archive, rows: runs, act: act("archive"), undo: { said: t.runs.archived(runs.length), act: act("unarchive") } };
  const restore = { name: t.act.restore, rows: runs, act: act("unarchive"), undo: { said: t.runs.restored(runs.length), act: act("archive") } };
  return [
    isArchived ? restore : archive,
    { name: t.runs.terminateSome(live.length), rows: live, act: act("terminate") },
    { name: t.act.deleteAsk, rows: runs, act: (run) => remove(api.oneRun(run.run_id)), asks: { title: t.runs.deleteSome(runs.length, runs[0]?.display_name ?? t.runs.theRun), loses: t.runs.deleteLoses } },
  ];
}
