// Experiments: groups of runs.
import { moment } from "../api/model";
import { page } from "../api/paths";
import { useExperiment, useExperiments, useRuns } from "../api/queries";
import { Empty, Head, Loading, Problem, Since, useTitle } from "../ui/parts";
import { RunTable } from "./Runs";

export function Experiments() {
  const experiments = useExperiments();
  useTitle("Experiments");
  return (
    <div className="page">
      <Head title="Experiments" />
      {experiments.isPending && <Loading what="experiments" />}
      {experiments.isError && <Problem error={experiments.error} doing="Reading the experiments" retry={() => void experiments.refetch()} />}
      {experiments.data && (
        <div className="table-box" tabIndex={0} role="region" aria-label="Experiments">
          <table>
            <thead><tr><th scope="col">Name</th><th scope="col" className="wide">Description</th><th scope="col">Last run</th></tr></thead>
            <tbody>
              {(experiments.data.experiments ?? []).map((one) => (
                <tr key={one.experiment_id}>
                  <td className="name"><a className="row-link" href={page.experiment(one.experiment_id)}>{one.display_name}</a></td>
                  <td className="wide mute clip">{one.description}</td>
                  <td className="num mute"><Since at={moment(one.last_run_created_at)} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

export function Experiment({ id }: { id: string }) {
  const experiment = useExperiment(id);
  const runs = useRuns(id);
  const list = runs.data?.pages.flatMap((one) => one.runs ?? []) ?? [];
  const name = experiment.data?.display_name ?? "Experiment";
  useTitle(name);
  const error = experiment.error ?? runs.error;
  if (error) return <Problem error={error} doing="Reading the experiment" />;
  return (
    <div className="page">
      <Head crumbs={[{ name: "Experiments", href: page.experiments }]} title={name} />
      {runs.isPending && <Loading what="runs" />}
      {runs.data && list.length === 0 && <Empty title="No run in this experiment yet" command={`kfctl run pipeline.py --follow`}>Runs that name this experiment are listed here.</Empty>}
      {list.length > 0 && <RunTable runs={list} />}
    </div>
  );
}
