// Which namespace the pages look at: what the address says, else what was chosen last, else where the platform is installed.
import { useCallback, useEffect, useSyncExternalStore } from "react";
import { type Namespace, type Session } from "../api/model";
import { topic } from "../api/paths";
import { useWatch } from "../api/watch";
import { go, parse, useRoute, withQuery } from "../router";

const KEY = "ferroflow-namespace";
const listeners = new Set<() => void>();

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export interface Namespaces {
  chosen: string;
  /** Those that the person may see. */
  all: string[];
  choose: (name: string) => void;
}

export function useNamespaces(session: Session): Namespaces {
  const route = useRoute();
  const kept = useSyncExternalStore(subscribe, () => localStorage.getItem(KEY));
  const { items, isComplete } = useWatch<Namespace>(topic.namespaces);
  const names = items.map((one) => one.metadata?.name ?? "").filter(Boolean);
  const fromPath = route.path[0] === "pods" ? route.path[1] : undefined;
  const said = fromPath ?? route.query.get("ns") ?? undefined;
  // A choice of long ago may name what is gone.
  const isGone = isComplete && kept !== null && !names.includes(kept);
  const chosen = said ?? (isGone ? undefined : kept) ?? session.namespace;
  useEffect(() => {
    if (said && said !== localStorage.getItem(KEY)) keep(said);
  }, [said]);
  const choose = useCallback((name: string) => {
    keep(name);
    const { path } = parse(window.location.hash);
    // A page of one object of the old namespace has nothing to show in the new one.
    if (path[0] === "pods") go(`#/pods?ns=${encodeURIComponent(name)}`);
    else if (window.location.hash.includes("ns=")) window.location.replace(withQuery({ ns: name }));
  }, []);
  const all = names.length > 0 ? names : [session.namespace];
  return { chosen, all: [...new Set([...all, chosen])].sort(), choose };
}

function keep(name: string) {
  localStorage.setItem(KEY, name);
  for (const listener of listeners) listener();
}
