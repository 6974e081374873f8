// Server state: one cache, filled by reads and kept current by the event stream.
import { type InfiniteData, QueryClient, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef } from "react";
import { CallError, call } from "./client";
import { LIVE, matches, type RunFilter } from "./filter";
import { type Message, useTopic } from "./live";
import { type Experiment, type ExperimentList, moment, type Pipeline, type PipelineList, type PipelineVersion, type PipelineVersionList, type Run, type RunList, type Session } from "./model";
import { document as documentOf } from "../graph/document";
import { api, topic } from "./paths";

export const NEWEST = "created_at desc";

export function newCache(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        retry: (count, error) => count < 2 && error instanceof CallError && (error.status === 0 || error.status >= 500),
      },
    },
  });
}

export type RunPages = InfiniteData<RunList, string>;

/** The pages with one run replaced, put first if it is new, or taken out where the filter no longer has it. */
export function withRun(pages: RunPages, run: Run, filter: RunFilter = {}): RunPages {
  if (!matches(run, filter)) return withoutRun(pages, run.run_id);
  let found = false;
  const next = pages.pages.map((one) => {
    const runs = one.runs?.map((old) => {
      if (old.run_id !== run.run_id) return old;
      found = true;
      return { ...run, pipeline_spec: run.pipeline_spec ?? old.pipeline_spec };
    });
    return runs ? { ...one, runs } : one;
  });
  if (!found && next[0]) next[0] = { ...next[0], runs: [run, ...(next[0].runs ?? [])], total_size: (next[0].total_size ?? 0) + 1 };
  return { ...pages, pages: next };
}

/** The pages without one run. */
export function withoutRun(pages: RunPages, id: string): RunPages {
  if (!pages.pages.some((one) => one.runs?.some((run) => run.run_id === id))) return pages;
  const next = pages.pages.map((one) => ({ ...one, runs: one.runs?.filter((run) => run.run_id !== id) }));
  if (next[0]) next[0] = { ...next[0], total_size: Math.max(0, (next[0].total_size ?? 0) - 1) };
  return { ...pages, pages: next };
}

export function useSession() {
  return useQuery({ queryKey: ["session"], queryFn: () => call<Session>(api.session) });
}

/** A list of runs, page by page. The key holds the filter, by which `useLiveRuns` judges what changed. */
export function useRuns(filter: RunFilter = {}, sort = NEWEST, size?: number) {
  const runs = useInfiniteQuery({
    queryKey: ["runs", filter, sort, size],
    queryFn: ({ pageParam }) => call<RunList>(api.runs(pageParam, filter, sort, size)),
    initialPageParam: "",
    getNextPageParam: (last: RunList) => last.next_page_token,
    placeholderData: (old: RunPages | undefined) => old,
  });
  return { ...runs, list: runs.data?.pages.flatMap((one) => one.runs ?? []) ?? [], total: runs.data?.pages[0]?.total_size ?? 0 };
}

/** Runs that are not over. */
export const LIVE_RUNS: RunFilter = { states: LIVE };

/** Keeps every list of runs current. Used once, by the shell. */
export function useLiveRuns(enabled: boolean) {
  const cache = useQueryClient();
  const take = useCallback(
    (message: Message) => {
      if (message.type === "START" || message.type === "resync") {
        void cache.invalidateQueries({ queryKey: ["runs"] });
        return;
      }
      const run = message.object as Run | undefined;
      if (!run?.run_id) return;
      for (const [key, pages] of cache.getQueriesData<RunPages>({ queryKey: ["runs"] })) {
        if (!pages) continue;
        if (message.type === "deleted") cache.setQueryData(key, withoutRun(pages, run.run_id));
        else cache.setQueryData(key, withRun(pages, run, key[1] as RunFilter));
      }
    },
    [cache],
  );
  useTopic(enabled ? topic.runs : undefined, take);
}

/** One run with its steps and document, live. Mount anew (by key) for another run. */
export function useRun(id: string) {
  const cache = useQueryClient();
  // What the stream said last outweighs a read that was under way meanwhile.
  const latest = useRef<Run>(undefined);
  const take = useCallback(
    (message: Message) => {
      const run = message.object as Run | undefined;
      if (message.type === "deleted") {
        latest.current = undefined;
        void cache.invalidateQueries({ queryKey: ["run", id] });
      } else if (run?.run_id === id) {
        latest.current = run;
        cache.setQueryData<Run>(["run", id], (old) => (old ? { ...run, pipeline_spec: run.pipeline_spec ?? old.pipeline_spec } : old));
      }
    },
    [cache, id],
  );
  useTopic(topic.run(id), take);
  return useQuery({
    queryKey: ["run", id],
    queryFn: async () => {
      const read = await readRun(id);
      return latest.current ? { ...latest.current, pipeline_spec: read.pipeline_spec } : read;
    },
    refetchOnMount: "always",
  });
}

/** A run with its document, which lies at its pipeline's version unless the run brought its own. */
async function readRun(id: string): Promise<Run> {
  const run = await call<Run>(api.run(id));
  const reference = run.pipeline_version_reference;
  if (run.pipeline_spec || !reference?.pipeline_id || !reference.pipeline_version_id) return run;
  try {
    const version = await call<PipelineVersion>(api.version(reference.pipeline_id, reference.pipeline_version_id));
    return { ...run, pipeline_spec: version.pipeline_spec };
  } catch {
    // The version may be deleted; the run is still there to see.
    return run;
  }
}

/** A run as it is now, to copy from. */
export function useRunOnce(id: string | undefined) {
  return useQuery({ queryKey: ["run-once", id], queryFn: () => readRun(id ?? ""), enabled: !!id });
}

/** The last run of the same pipeline before this one that ended well, with its steps: how long a live run may take, why a
 * result was not taken from it. */
export function useLastRun(run: Run, wanted: boolean) {
  const reference = run.pipeline_version_reference;
  return useQuery({
    queryKey: ["last-run", run.run_id],
    enabled: wanted,
    queryFn: async () => {
      const list = await call<RunList>(api.runsLike(run.experiment_id ?? "", reference?.pipeline_id));
      const name = pipelineName(run);
      const isEarlier = (one: Run) => one.run_id !== run.run_id && (moment(one.created_at) ?? 0) <= (moment(run.created_at) ?? 0);
      const last = list.runs?.find((one) => isEarlier(one) && (reference?.pipeline_id ? true : pipelineName(one) === name));
      return last ? readRun(last.run_id) : null;
    },
  });
}

function pipelineName(run: Run): string | undefined {
  return documentOf(run.pipeline_spec)?.pipelineInfo?.name;
}

export function usePipelines(text = "", sort = NEWEST) {
  const pipelines = useInfiniteQuery({
    queryKey: ["pipelines", text, sort],
    queryFn: ({ pageParam }) => call<PipelineList>(api.pipelines(pageParam, text, sort)),
    initialPageParam: "",
    getNextPageParam: (last: PipelineList) => last.next_page_token,
    placeholderData: (old: InfiniteData<PipelineList, string> | undefined) => old,
    refetchOnMount: "always",
  });
  return { ...pipelines, list: pipelines.data?.pages.flatMap((one) => one.pipelines ?? []) ?? [], total: pipelines.data?.pages[0]?.total_size ?? 0 };
}

export function usePipeline(id: string | undefined) {
  return useQuery({ queryKey: ["pipeline", id], queryFn: () => call<Pipeline>(api.pipeline(id ?? "")), enabled: !!id });
}

export function useVersions(id: string | undefined) {
  return useQuery({
    queryKey: ["versions", id],
    queryFn: () => call<PipelineVersionList>(api.versions(id ?? "")),
    enabled: !!id,
    refetchOnMount: "always",
  });
}

export function useVersion(pipeline: string | undefined, version: string | undefined) {
  return useQuery({
    queryKey: ["version", pipeline, version],
    queryFn: () => call<PipelineVersion>(api.version(pipeline ?? "", version ?? "")),
    enabled: !!pipeline && !!version,
  });
}

export function useExperiments(text = "", sort = NEWEST) {
  const experiments = useInfiniteQuery({
    queryKey: ["experiments", text, sort],
    queryFn: ({ pageParam }) => call<ExperimentList>(api.experiments(pageParam, text, sort)),
    initialPageParam: "",
    getNextPageParam: (last: ExperimentList) => last.next_page_token,
    placeholderData: (old: InfiniteData<ExperimentList, string> | undefined) => old,
    refetchOnMount: "always",
  });
  return { ...experiments, list: experiments.data?.pages.flatMap((one) => one.experiments ?? []) ?? [], total: experiments.data?.pages[0]?.total_size ?? 0 };
}

export function useExperiment(id: string | undefined) {
  return useQuery({ queryKey: ["experiment", id], queryFn: () => call<Experiment>(api.experiment(id ?? "")), enabled: !!id });
}
