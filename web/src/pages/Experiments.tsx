// Experiments: groups of runs.
import { useMemo } from "react";
import { type Experiment as ExperimentModel, moment } from "../api/model";
import { api, page } from "../api/paths";
import { NEWEST, useExperiment, useExperiments, useRuns } from "../api/queries";
import { setQuery } from "../router";
import { t } from "../strings";
import { Filter } from "../ui/Filter";
import { CopyMenu } from "../ui/Menu";
import { Empty, Facts, Head, Loading, Problem, Since, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { columnsOf, ListTools, pick } from "./ListTools";
import { RUN_COLUMNS, runChoices, RunTable } from "./RunTable";

const COLUMNS: Column<ExperimentModel>[] = [
  { id: "name", name: t.experiments.name, sort: "name", className: "name", cell: (one) => one.display_name ?? one.experiment_id },
  { id: "description", name: t.experiments.description, width: "40%", isWide: true, className: "clip mute", cell: (one) => one.description },
  { id: "last", name: t.experiments.last, width: "120px", sort: "last_run_created_at", className: "num mute", cell: (one) => <Since at={moment(one.last_run_created_at)} /> },
  { id: "created", name: t.experiments.created, width: "120px", sort: "created_at", isWide: true, className: "num mute", cell: (one) => <Since at={moment(one.created_at)} /> },
  { id: "id", name: t.experiments.id, width: "290px", isWide: true, className: "mute", cell: (one) => <code>{one.experiment_id}</code> },
];
const AT_FIRST = ["name", "description", "last", "created"];
const CHOICES = COLUMNS.map(({ id, name }) => ({ id, name: String(name), group: "fields" as const }));
const client = () => `kfp.Client(host="${window.location.origin}")`;

export function Experiments({ query }: { query: URLSearchParams }) {
  const text = query.get("filter") ?? "";
  const sort = query.get("sort") ?? NEWEST;
  const experiments = useExperiments(text, sort);
  useTitle(t.experiments.title);
  return (
    <div className="page fill">
      <Head
        title={t.experiments.title}
        actions={
          <CopyMenu
            items={[
              { name: t.copy.python, text: `import kfp\n\nprint(${client()}.list_experiments())` },
              { name: t.copy.curl, text: `curl '${window.location.origin}${api.experiments("", text, sort)}'` },
              { name: t.copy.link, text: window.location.href },
            ]}
          />
        }
      />
      <div className="filters">
        <Filter label={t.experiments.filter} hint={t.experiments.hint} value={text} change={(filter) => setQuery({ filter })} />
        <ListTools list="experiments" address={page.experiments} query={query} choices={CHOICES} atFirst={AT_FIRST} />
        <span className="mute num count" role="status">{experiments.isSuccess ? t.experiments.count(experiments.total) : ""}</span>
      </div>
      {experiments.isPending && <Loading what={t.loading.experiments} />}
      {experiments.isError && <Problem error={experiments.error} doing={t.experiments.reading} retry={() => void experiments.refetch()} />}
      {experiments.isSuccess && experiments.list.length === 0 && (
        <Empty title={text ? t.experiments.noMatch : t.experiments.none} command={text ? undefined : "kfp experiment create my-experiment"}>
          <p>{t.experiments.noneWhy}</p>
        </Empty>
      )}
      {experiments.list.length > 0 && (
        <Table label={t.experiments.title} view={text} columns={pick(COLUMNS, columnsOf(query, AT_FIRST))} rows={experiments.list} total={experiments.total} keyOf={(one) => one.experiment_id} nameOf={(one) => one.display_name ?? one.experiment_id} hrefOf={(one) => page.experiment(one.experiment_id)} sort={sort} onSort={(sort) => setQuery({ sort })} more={experiments.hasNextPage && !experiments.isFetchingNextPage ? () => void experiments.fetchNextPage() : undefined} />
      )}
    </div>
  );
}

export function Experiment({ id, query }: { id: string; query: URLSearchParams }) {
  const experiment = useExperiment(id);
  const sort = query.get("sort") ?? NEWEST;
  const asked = query.get("columns");
  const columns = useMemo(() => columnsOf(new URLSearchParams(asked === null ? "" : { columns: asked }), RUN_COLUMNS), [asked]);
  const runs = useRuns({ experiment: id }, sort);
  const name = experiment.data?.display_name ?? t.experiments.one;
  useTitle(name);
  const error = experiment.error ?? runs.error;
  if (error) return <Problem error={error} doing={t.experiments.readingOne} />;
  return (
    <div className="page fill">
      <Head
        crumbs={[{ name: t.experiments.title, href: page.experiments }, { name: id.slice(0, 8) }]}
        title={name}
        actions={
          <CopyMenu
            items={[
              { name: t.copy.python, text: `import kfp\n\nprint(${client()}.list_runs(experiment_id="${id}"))` },
              { name: t.copy.curl, text: `curl '${window.location.origin}${api.experiment(id)}'` },
              { name: t.copy.link, text: window.location.href },
            ]}
          />
        }
        facts={
          <Facts
            items={[
              { name: t.experiments.created, value: <Since at={moment(experiment.data?.created_at)} /> },
              { name: t.experiments.runs, value: String(runs.total) },
              ...(experiment.data?.description ? [{ name: t.experiments.description, value: experiment.data.description }] : []),
            ]}
          />
        }
      />
      {runs.isPending && <Loading what={t.loading.runs} />}
      {runs.isSuccess && runs.list.length === 0 && <Empty title={t.experiments.noRuns} command="kfctl run pipeline.py --follow"><p>{t.experiments.noRunsWhy}</p></Empty>}
      {runs.list.length > 0 && (
        <>
          <div className="filters"><ListTools list="runs" address={page.experiment(id)} query={query} choices={runChoices(runs.list, columns)} atFirst={RUN_COLUMNS} hasValues /></div>
          <RunTable runs={runs.list} columns={columns} total={runs.total} sort={sort} onSort={(sort) => setQuery({ sort })} more={runs.hasNextPage && !runs.isFetchingNextPage ? () => void runs.fetchNextPage() : undefined} />
        </>
      )}
    </div>
  );
}
