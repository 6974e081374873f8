// Views of lists that a person keeps under a name: filter, order, columns, as the address has them. They stay in this browser.
import { useCallback, useSyncExternalStore } from "react";

export interface View {
  name: string;
  /** The query of the address. */
  query: string;
}

/** Parts of the address that a view is made of. */
const PARTS = ["filter", "sort", "columns"];
const KEY = "ferroflow-views";
const listeners = new Set<() => void>();

/** What of an address a view keeps, in one order. */
export function viewOf(query: URLSearchParams): string {
  const kept = new URLSearchParams();
  for (const part of PARTS) {
    const value = query.get(part);
    if (value) kept.set(part, value);
  }
  return kept.toString();
}

/** What was kept; anything else that stands there is as good as nothing. */
export function readViews(text: string | null): Record<string, View[]> {
  try {
    const read = JSON.parse(text ?? "{}") as unknown;
    if (typeof read !== "object" || read === null) return {};
    const isView = (one: unknown): one is View => typeof one === "object" && one !== null && typeof (one as View).name === "string" && typeof (one as View).query === "string";
    return Object.fromEntries(Object.entries(read).map(([list, views]) => [list, Array.isArray(views) ? views.filter(isView) : []]));
  } catch {
    return {};
  }
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}

/** The views of one list, and how to keep and forget them. A name that is there already gets the new view. */
export function useViews(list: string): { views: View[]; save: (name: string, query: URLSearchParams) => void; forget: (name: string) => void } {
  const text = useSyncExternalStore(subscribe, () => localStorage.getItem(KEY));
  const change = useCallback(
    (edit: (views: View[]) => View[]) => {
      const all = readViews(localStorage.getItem(KEY));
      localStorage.setItem(KEY, JSON.stringify({ ...all, [list]: edit(all[list] ?? []) }));
      for (const listener of listeners) listener();
    },
    [list],
  );
  const save = useCallback((name: string, query: URLSearchParams) => change((views) => [...views.filter((one) => one.name !== name), { name, query: viewOf(query) }]), [change]);
  const forget = useCallback((name: string) => change((views) => views.filter((one) => one.name !== name)), [change]);
  return { views: readViews(text)[list] ?? [], save, forget };
}
