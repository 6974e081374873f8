// Server state: one cache, filled by reads and kept current by the event stream.
import { type InfiniteData, QueryClient, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef, useState } from "react";
import { CallError, call } from "./client";
import { type Message, useTopic } from "./live";
import type { Experiment, KubeEvent, Machine, Pipeline, PipelineVersion, Run, Session } from "./model";
import { api } from "./paths";

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

export interface RunPage {
  runs?: Run[];
  total_size?: number;
  next_page_token?: string;
}
export type RunPages = InfiniteData<RunPage, string>;

/** The pages with one run replaced, or put first if it is new. */
export function withRun(pages: RunPages, run: Run): RunPages {
  let found = false;
  const next = pages.pages.map((one) => {
    const runs = one.runs?.map((old) => {
      if (old.run_id !== run.run_id) return old;
      found = true;
      return run;
    });
    return runs ? { ...one, runs } : one;
  });
  if (!found && next[0]) next[0] = { ...next[0], runs: [run, ...(next[0].runs ?? [])], total_size: (next[0].total_size ?? 0) + 1 };
  return { ...pages, pages: next };
}

/** The pages without one run. */
export function withoutRun(pages: RunPages, id: string): RunPages {
  return { ...pages, pages: pages.pages.map((one) => ({ ...one, runs: one.runs?.filter((run) => run.run_id !== id) })) };
}

export function useSession() {
  return useQuery({ queryKey: ["session"], queryFn: () => call<Session>(api.session) });
}

export function useRuns(experiment?: string) {
  return useInfiniteQuery({
    queryKey: ["runs", experiment ?? ""],
    queryFn: ({ pageParam }) => call<RunPage>(api.runs(pageParam, experiment)),
    initialPageParam: "",
    getNextPageParam: (last: RunPage) => last.next_page_token,
  });
}

/** Keeps every list of runs current. Used once, by the shell. */
export function useLiveRuns(enabled: boolean) {
  const cache = useQueryClient();
  const take = useCallback(
    (message: Message) => {
      if (message.type === "START" || message.type === "resync") {
        void cache.invalidateQueries({ queryKey: ["runs"] });
        void cache.invalidateQueries({ queryKey: ["machine"] });
        return;
      }
      const run = message.object as Run | undefined;
      if (!run?.run_id) return;
      for (const [key, pages] of cache.getQueriesData<RunPages>({ queryKey: ["runs"] })) {
        if (!pages) continue;
        if (message.type === "deleted") cache.setQueryData(key, withoutRun(pages, run.run_id));
        else if (!key[1] || key[1] === run.experiment_id) cache.setQueryData(key, withRun(pages, run));
      }
      void cache.invalidateQueries({ queryKey: ["machine"] });
    },
    [cache],
  );
  useTopic(enabled ? "runs" : undefined, take);
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
  useTopic(`run/${id}`, take);
  return useQuery({
    queryKey: ["run", id],
    queryFn: async () => {
      const read = await call<Run>(api.run(id));
      return latest.current ? { ...latest.current, pipeline_spec: read.pipeline_spec } : read;
    },
    refetchOnMount: "always",
  });
}

export function useMachine() {
  return useQuery({
    queryKey: ["machine"],
    queryFn: async () => {
      const before = await call<Machine>(api.machine);
      await new Promise((resolve) => setTimeout(resolve, 400));
      const now = await call<Machine>(api.machine);
      const total = now.cpu_total_ticks - before.cpu_total_ticks;
      return { ...now, cpu: total > 0 ? (now.cpu_busy_ticks - before.cpu_busy_ticks) / total : 0 };
    },
  });
}

export function usePipelines() {
  return useQuery({
    queryKey: ["pipelines"],
    queryFn: () => call<{ pipelines?: Pipeline[]; total_size?: number }>(api.pipelines("")),
    refetchOnMount: "always",
  });
}

export function usePipeline(id: string | undefined) {
  return useQuery({ queryKey: ["pipeline", id], queryFn: () => call<Pipeline>(api.pipeline(id ?? "")), enabled: !!id });
}

export function useVersions(id: string | undefined) {
  return useQuery({
    queryKey: ["versions", id],
    queryFn: () => call<{ pipeline_versions?: PipelineVersion[] }>(api.versions(id ?? "")),
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

export function useExperiments() {
  return useQuery({
    queryKey: ["experiments"],
    queryFn: () => call<{ experiments?: Experiment[] }>(api.experiments),
    refetchOnMount: "always",
  });
}

export function useExperiment(id: string | undefined) {
  return useQuery({ queryKey: ["experiment", id], queryFn: () => call<Experiment>(api.experiment(id ?? "")), enabled: !!id });
}

/** Events of one pod, live. Mount anew (by key) for another pod. */
export function usePodEvents(namespace: string, pod: string | undefined): { events: KubeEvent[]; error: string | undefined; loaded: boolean } {
  const [events, setEvents] = useState<Map<string, KubeEvent>>(new Map());
  const [error, setError] = useState<string>();
  const [loaded, setLoaded] = useState(false);
  const take = useCallback((message: Message) => {
    if (message.type === "ERROR") {
      setError(message.message ?? "the events cannot be read");
      return;
    }
    setLoaded(true);
    const event = message.object as KubeEvent | undefined;
    if (message.type !== "ADDED" && message.type !== "MODIFIED") return;
    if (!event?.metadata.name) return;
    setEvents((old) => new Map(old).set(event.metadata.name, event));
  }, []);
  useTopic(pod ? api.podEvents(namespace, pod) : undefined, take);
  const at = (event: KubeEvent) => event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp ?? "";
  return { events: [...events.values()].sort((a, b) => at(a).localeCompare(at(b))), error, loaded };
}
