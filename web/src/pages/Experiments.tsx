// Experiments: groups of runs.
import { type Experiment as ExperimentModel, moment } from "../api/model";
import { page } from "../api/paths";
import { NEWEST, useExperiment, useExperiments, useRuns } from "../api/queries";
import { setQuery } from "../router";
import { Filter } from "../ui/Filter";
import { Empty, Facts, Head, Loading, Problem, Since, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { RunTable } from "./RunTable";

const COLUMNS: Column<ExperimentModel>[] = [
  { id: "name", name: "Name", sort: "name", className: "name", cell: (one) => one.display_name ?? one.experiment_id },
  { id: "description", name: "Description", width: "40%", isWide: true, className: "clip mute", cell: (one) => one.description },
  { id: "last", name: "Last run", width: "120px", sort: "last_run_created_at", className: "num mute", cell: (one) => <Since at={moment(one.last_run_created_at)} /> },
  { id: "created", name: "Created", width: "120px", sort: "created_at", isWide: true, className: "num mute", cell: (one) => <Since at={moment(one.created_at)} /> },
];

export function Experiments({ query }: { query: URLSearchParams }) {
  const text = query.get("filter") ?? "";
  const sort = query.get("sort") ?? NEWEST;
  const experiments = useExperiments(text, sort);
  useTitle("Experiments");
  return (
    <div className="page fill">
      <Head title="Experiments" />
      <div className="filters"><Filter label="Filter experiments" hint="name" value={text} change={(filter) => setQuery({ filter })} /></div>
      {experiments.isPending && <Loading what="experiments" />}
      {experiments.isError && <Problem error={experiments.error} doing="Reading the experiments" retry={() => void experiments.refetch()} />}
      {experiments.isSuccess && experiments.list.length === 0 && (
        <Empty title={text ? "No experiment has this name" : "No experiment yet"} command={text ? undefined : `kfp experiment create my-experiment`}>
          <p>An experiment groups runs. One called Default is made with the first run.</p>
        </Empty>
      )}
      {experiments.list.length > 0 && (
        <Table label="Experiments" view={text} columns={COLUMNS} rows={experiments.list} total={experiments.total} keyOf={(one) => one.experiment_id} nameOf={(one) => one.display_name ?? one.experiment_id} hrefOf={(one) => page.experiment(one.experiment_id)} sort={sort} onSort={(sort) => setQuery({ sort })} more={experiments.hasNextPage && !experiments.isFetchingNextPage ? () => void experiments.fetchNextPage() : undefined} />
      )}
    </div>
  );
}

export function Experiment({ id, query }: { id: string; query: URLSearchParams }) {
  const experiment = useExperiment(id);
  const sort = query.get("sort") ?? NEWEST;
  const runs = useRuns({ experiment: id }, sort);
  const name = experiment.data?.display_name ?? "Experiment";
  useTitle(name);
  const error = experiment.error ?? runs.error;
  if (error) return <Problem error={error} doing="Reading the experiment" />;
  return (
    <div className="page fill">
      <Head
        crumbs={[{ name: "Experiments", href: page.experiments }, { name: id.slice(0, 8) }]}
        title={name}
        facts={
          <Facts
            items={[
              { name: "Created", value: <Since at={moment(experiment.data?.created_at)} /> },
              { name: "Runs", value: String(runs.total) },
              ...(experiment.data?.description ? [{ name: "Description", value: experiment.data.description }] : []),
            ]}
          />
        }
      />
      {runs.isPending && <Loading what="runs" />}
      {runs.isSuccess && runs.list.length === 0 && <Empty title="No run in this experiment yet" command="kfctl run pipeline.py --follow"><p>Runs that name this experiment are listed here.</p></Empty>}
      {runs.list.length > 0 && <RunTable runs={runs.list} total={runs.total} sort={sort} onSort={(sort) => setQuery({ sort })} more={runs.hasNextPage && !runs.isFetchingNextPage ? () => void runs.fetchNextPage() : undefined} />}
    </div>
  );
}
