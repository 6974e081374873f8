// The list of runs, live; filters are part of the address.
import type { Run } from "../api/model";
import { isOver, moment } from "../api/model";
import { page } from "../api/paths";
import { useRuns } from "../api/queries";
import { cause } from "../format";
import { setQuery } from "../router";
import { Button, Empty, Head, Lasting, Loading, Problem, Since, StateChip, useTitle } from "../ui/parts";

const FILTERS = [
  { id: "", name: "All" },
  { id: "live", name: "Live" },
  { id: "succeeded", name: "Succeeded" },
  { id: "failed", name: "Failed" },
];

/** Whether a run is shown under a filter and a word. */
export function matches(run: Run, state: string, word: string): boolean {
  const isState = state === "" || (state === "live" ? !isOver(run.state) : run.state?.toLowerCase() === state);
  return isState && `${run.display_name} ${run.run_id}`.toLowerCase().includes(word.toLowerCase());
}

export function RunTable({ runs }: { runs: Run[] }) {
  return (
    <div className="table-box" tabIndex={0} role="region" aria-label="Runs">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">State</th>
            <th scope="col" className="wide">What happened</th>
            <th scope="col">Lasted</th>
            <th scope="col">Started</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.run_id}>
              <td className="name">
                <a className="row-link" href={page.run(run.run_id)}>{run.display_name ?? run.run_id}</a>
              </td>
              <td><StateChip state={run.state} /></td>
              <td className="wide clip mute" title={run.error?.message}>{run.error?.message ? cause(run.error.message) : ""}</td>
              <td className="num"><Lasting start={moment(run.created_at)} end={isOver(run.state) ? (moment(run.finished_at) ?? moment(run.created_at)) : undefined} /></td>
              <td className="num mute"><Since at={moment(run.created_at)} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Runs({ query }: { query: URLSearchParams }) {
  const runs = useRuns();
  const state = query.get("state") ?? "";
  const word = query.get("q") ?? "";
  const all = runs.data?.pages.flatMap((one) => one.runs ?? []) ?? [];
  const live = all.filter((run) => !isOver(run.state)).length;
  const shown = all.filter((run) => matches(run, state, word));
  useTitle(live > 0 ? `● ${live} live · Runs` : "Runs", live > 0 ? "running" : undefined);
  return (
    <div className="page">
      <Head title="Runs" chip={live > 0 ? <StateChip state="RUNNING">{live} live</StateChip> : undefined} actions={<Button href={page.pipelines} kind="primary">New run</Button>} />
      <div className="filters">
        <div role="group" aria-label="State" className="segments">
          {FILTERS.map((filter) => (
            <button key={filter.id} type="button" aria-pressed={state === filter.id} onClick={() => setQuery({ state: filter.id })}>{filter.name}</button>
          ))}
        </div>
        <input type="search" aria-label="Filter by name or id" placeholder="Filter by name or id" value={word} onChange={(event) => setQuery({ q: event.target.value })} />
      </div>
      {runs.isPending && <Loading what="runs" />}
      {runs.isError && <Problem error={runs.error} doing="Reading the runs" retry={() => void runs.refetch()} />}
      {runs.data && all.length === 0 && <Empty title="No run yet" command="kfctl run pipeline.py --follow">A run is one execution of a pipeline. Start one from a terminal, from Python, or from a pipeline's page.</Empty>}
      {all.length > 0 && shown.length === 0 && <Empty title="No run matches">Change the filter to see the other {all.length}.</Empty>}
      {shown.length > 0 && <RunTable runs={shown} />}
      {runs.hasNextPage && <div className="pad"><Button onClick={() => void runs.fetchNextPage()} disabled={runs.isFetchingNextPage}>Show older runs</Button></div>}
    </div>
  );
}
