// What a pod is doing, in the words that kubectl uses: they are Kubernetes' own, in every language.
/* eslint words/words-in-catalogue: "off" */
import type { Pod } from "../api/model";
import type { Tone } from "../ui/parts";

export interface PodState {
  word: string;
  tone: Tone;
  ready: string;
  restarts: number;
}

export function podState(pod: Pod): PodState {
  const statuses = pod.status?.containerStatuses ?? [];
  const restarts = statuses.reduce((sum, one) => sum + (one.restartCount ?? 0), 0);
  const ready = `${statuses.filter((one) => one.ready).length}/${pod.spec?.containers.length ?? 0}`;
  const init = (pod.status?.initContainerStatuses ?? []).find((one) => !one.ready && (one.state?.waiting ?? one.state?.terminated?.exitCode));
  const waiting = statuses.find((one) => one.state?.waiting)?.state?.waiting?.reason;
  const ended = statuses.find((one) => one.state?.terminated)?.state?.terminated;
  const phase = pod.status?.phase ?? "Pending";
  let word = pod.status?.reason ?? phase;
  if (ended?.reason) word = ended.reason;
  if (waiting) word = waiting;
  if (init?.state?.waiting?.reason && init.state.waiting.reason !== "PodInitializing") word = `Init:${init.state.waiting.reason}`;
  if (pod.metadata?.deletionTimestamp) word = "Terminating";
  return { word, tone: toneOf(word, phase), ready, restarts };
}

function toneOf(word: string, phase: string): Tone {
  if (word === "Terminating") return "attention";
  if (/Error|BackOff|Failed|OOMKilled|Invalid|Evicted/.test(word) || phase === "Failed") return "failed";
  if (phase === "Succeeded") return "succeeded";
  return phase === "Running" ? "running" : "waiting";
}
