// One event stream for the whole page. Views name the topics they need; the stream is opened anew when their union changes
// and heals by itself. Nothing else in the console asks the server on a clock.
import { useEffect, useSyncExternalStore } from "react";
import { api } from "./paths";

export interface Message {
  topic: string;
  type: string;
  object?: unknown;
  code?: number;
  message?: string;
}

type Listener = (message: Message) => void;
export type Connection = "opening" | "open" | "lost";

export class Live {
  private readonly listeners = new Map<string, Set<Listener>>();
  private readonly watchers = new Set<() => void>();
  private source: EventSource | undefined;
  private opened = "";
  private scheduled = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  connection: Connection = "opening";

  constructor(private readonly open: (url: string) => EventSource = (url) => new EventSource(url)) {}

  /** Follows a topic until the answer is called. */
  follow(topic: string, listener: Listener): () => void {
    const set = this.listeners.get(topic) ?? new Set();
    set.add(listener);
    this.listeners.set(topic, set);
    this.schedule();
    return () => {
      set.delete(listener);
      if (set.size === 0) this.listeners.delete(topic);
      this.schedule();
    };
  }

  /** Tells of changes of the connection. */
  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  // Several views change at once when a page does: they make one reopening.
  private schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.connect(false);
    });
  }

  private connect(force: boolean) {
    const topics = [...this.listeners.keys()].sort();
    const wanted = topics.join("\n");
    if (!force && wanted === this.opened && this.source) return;
    clearTimeout(this.retry);
    this.source?.close();
    this.source = undefined;
    this.opened = wanted;
    if (topics.length === 0) return;
    const source = this.open(api.events(topics));
    this.source = source;
    source.onopen = () => this.say("open");
    source.onmessage = (event: MessageEvent<string>) => {
      const message = JSON.parse(event.data) as Message;
      for (const listener of this.listeners.get(message.topic) ?? []) listener(message);
    };
    source.onerror = () => {
      this.say("lost");
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        this.retry = setTimeout(() => this.connect(true), 2000);
      }
    };
  }

  private say(connection: Connection) {
    if (this.connection === connection) return;
    this.connection = connection;
    for (const watcher of this.watchers) watcher();
  }
}

export const live = new Live();

/** Follows a topic while the view is shown; `undefined` follows nothing. The listener must be stable. */
export function useTopic(topic: string | undefined, listener: Listener) {
  useEffect(() => (topic ? live.follow(topic, listener) : undefined), [topic, listener]);
}

export function useConnection(): Connection {
  return useSyncExternalStore(live.watch, () => live.connection);
}
