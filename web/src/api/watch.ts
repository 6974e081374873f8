// Objects of the Kubernetes API and readings of the machine, as the event stream brings them.
import { useCallback, useMemo, useRef, useState } from "react";
import { type Message, useTopic } from "./live";
import { t } from "../strings";
import { type KubeEvent, type Machine, type Reading, seenAt, type Usage } from "./model";
import { topic } from "./paths";

interface KubeObject {
  metadata?: { name?: string; uid?: string; annotations?: Record<string, string> };
}

export interface Watched<T> {
  items: T[];
  /** Everything that was there at the beginning has come. */
  isComplete: boolean;
  error?: { code?: number; message: string };
}

/** The objects of a list, live. Mount anew (by key) for another list; `undefined` follows nothing. */
export function useWatch<T extends KubeObject>(what: string | undefined): Watched<T> {
  const [shown, setShown] = useState<Map<string, T>>(new Map());
  const [isComplete, setComplete] = useState(false);
  const [error, setError] = useState<{ code?: number; message: string }>();
  // The stream begins anew each minute with all there is: what it does not name again is gone.
  const again = useRef<Map<string, T>>(undefined);
  const take = useCallback((message: Message) => {
    const object = message.object as T | undefined;
    const key = object?.metadata?.uid ?? object?.metadata?.name ?? "";
    switch (message.type) {
      case "START":
        again.current = new Map();
        setError(undefined);
        return;
      case "ERROR":
        setError({ code: message.code, message: message.message ?? t.error.unreadable });
        return;
      case "BOOKMARK":
        if (again.current && object?.metadata?.annotations?.["k8s.io/initial-events-end"] === "true") {
          const whole = again.current;
          again.current = undefined;
          setShown(whole);
          setComplete(true);
        }
        return;
      case "ADDED":
      case "MODIFIED":
        if (!object) return;
        if (again.current) again.current.set(key, object);
        else setShown((old) => new Map(old).set(key, object));
        return;
      case "DELETED":
        if (again.current) again.current.delete(key);
        else
          setShown((old) => {
            const rest = new Map(old);
            rest.delete(key);
            return rest;
          });
        return;
    }
  }, []);
  useTopic(what, take);
  const items = useMemo(() => [...shown.values()], [shown]);
  return { items, isComplete, error };
}

/** Events of one pod, oldest first. Mount anew (by key) for another pod. */
export function usePodEvents(namespace: string, pod: string | undefined): Watched<KubeEvent> {
  const watched = useWatch<KubeEvent>(pod ? topic.podEvents(namespace, pod) : undefined);
  const items = useMemo(() => watched.items.toSorted((a, b) => (seenAt(a) ?? 0) - (seenAt(b) ?? 0)), [watched.items]);
  return { ...watched, items };
}

/** Readings that are shown: as many as the server keeps. */
const KEPT = 300;

/** How busy the machine is, live. */
export function useMachine(): { machine: Machine | undefined; error: string | undefined } {
  const [machine, setMachine] = useState<Machine>();
  const [error, setError] = useState<string>();
  const take = useCallback((message: Message) => {
    if (message.type === "ERROR") setError(message.message ?? t.error.unsaid);
    else if (message.type === "machine") setMachine(message.object as Machine);
    else if (message.type === "reading") setMachine((old) => old && { ...old, readings: [...old.readings.slice(1 - KEPT), message.object as Reading] });
  }, []);
  useTopic(topic.machine, take);
  return { machine, error };
}

/** What pods used while somebody looked: another step is looked at, and then this one again. */
const kept = new Map<string, Usage[]>();
/** Pods of which that is kept. */
const PODS = 40;

/** What a pod uses while it runs, live, as far back as this page looked at it; `undefined` follows nothing. */
export function useUsage(namespace: string, pod: string | undefined, isLive: boolean): { readings: Usage[]; error: string | undefined } {
  const key = pod === undefined ? undefined : topic.usage(namespace, pod);
  const [state, setState] = useState<{ key: string | undefined; readings: Usage[]; error?: string }>({ key, readings: kept.get(key ?? "") ?? [] });
  const take = useCallback(
    (message: Message) => {
      if (key === undefined) return;
      if (message.type === "ERROR") {
        // A pod that is gone has ended: nothing is wrong.
        if (message.code !== 404) setState((old) => ({ ...old, key, error: message.message ?? t.error.unsaid }));
        return;
      }
      const readings = [...(kept.get(key) ?? []), message.object as Usage].slice(-KEPT);
      kept.delete(key);
      kept.set(key, readings);
      const oldest = kept.keys().next().value;
      if (kept.size > PODS && oldest !== undefined) kept.delete(oldest);
      setState({ key, readings });
    },
    [key],
  );
  useTopic(isLive ? key : undefined, take);
  return state.key === key ? { readings: state.readings, error: state.error } : { readings: kept.get(key ?? "") ?? [], error: undefined };
}
