// Addresses behind the hash, as Kubeflow's clients print them. Every view, tab and filter is part of the address.
import { useMemo, useSyncExternalStore } from "react";

export interface Route {
  /** Parts of the path, decoded. */
  path: string[];
  query: URLSearchParams;
}

/** Reads what follows the hash. */
export function parse(hash: string): Route {
  const text = hash.replace(/^#?\/*/, "");
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  return {
    path: path.split("/").filter(Boolean).map(decode),
    query: new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function subscribe(listener: () => void) {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return useMemo(() => parse(hash), [hash]);
}

export function go(to: string) {
  window.location.hash = to.replace(/^#/, "");
}

/** The present address with other query values; `undefined` removes one. */
export function withQuery(values: Record<string, string | undefined>): string {
  const { query } = parse(window.location.hash);
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined || value === "") query.delete(key);
    else query.set(key, value);
  }
  const path = window.location.hash.split("?")[0] || "#/";
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Changes the query without a new entry in the history. */
export function setQuery(values: Record<string, string | undefined>) {
  window.location.replace(withQuery(values));
}
