// Small parts that every page is made of. They know no API.
import { Check, Circle, CircleDashed, Copy as CopyIcon, OctagonX, Recycle, SkipForward, X } from "lucide-react";
import { type ReactNode, useEffect, useId, useState, useSyncExternalStore } from "react";
import { CallError } from "../api/client";
import type { State } from "../api/model";
import { absolute, ago, duration } from "../format";
import { t } from "../strings";
import { copy } from "./clipboard";
import { Dialog } from "./Dialog";

export type Tone = "succeeded" | "running" | "failed" | "attention" | "cached" | "waiting";

const TONES: Record<State, Tone> = {
  PENDING: "waiting",
  RUNNING: "running",
  SUCCEEDED: "succeeded",
  CACHED: "cached",
  SKIPPED: "waiting",
  FAILED: "failed",
  CANCELING: "attention",
  CANCELED: "attention",
};

export function toneOf(state: State | undefined): Tone {
  return state ? TONES[state] : "waiting";
}

export function wordOf(state: State | undefined): string {
  return state ? t.state[state] : t.state.none;
}

export function StateIcon({ state, size = 12 }: { state: State | undefined; size?: number }) {
  const props = { size, strokeWidth: 2.5, "aria-hidden": true } as const;
  switch (state) {
    case "SUCCEEDED":
      return <Check {...props} />;
    case "FAILED":
      return <X {...props} />;
    case "CACHED":
      return <Recycle {...props} />;
    case "SKIPPED":
      return <SkipForward {...props} />;
    case "CANCELING":
    case "CANCELED":
      return <OctagonX {...props} />;
    case "RUNNING":
      return <Circle {...props} fill="currentColor" className="pulse" size={size - 3} />;
    default:
      return <CircleDashed {...props} />;
  }
}

/** A state with its word; `children` stand in for the word, which is then read out only. */
export function StateChip({ state, children }: { state: State | undefined; children?: ReactNode }) {
  return (
    <span className={`chip ${toneOf(state)}`}>
      <StateIcon state={state} />
      {children ? (
        <>
          <span className="sr">{t.state.is(wordOf(state))}</span>
          {children}
        </>
      ) : (
        wordOf(state)
      )}
    </span>
  );
}

// One clock for everything that shows passing time; it runs only while something shows it.
const tickers = new Set<() => void>();
let ticking: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

function onTick(listener: () => void) {
  tickers.add(listener);
  ticking ??= setInterval(() => {
    now = Date.now();
    for (const one of tickers) one();
  }, 500);
  now = Date.now();
  return () => {
    tickers.delete(listener);
    if (tickers.size === 0) {
      clearInterval(ticking);
      ticking = undefined;
    }
  };
}
const never = () => () => undefined;

/** The present time, which moves only while `moving`. */
export function useNow(moving: boolean): number {
  return useSyncExternalStore(moving ? onTick : never, () => now);
}

export function Since({ at }: { at: number | undefined }) {
  const present = useNow(at !== undefined);
  if (at === undefined) return <span className="mute">{t.none}</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={absolute(at)}>
      {ago(at, present)}
    </time>
  );
}

export function Lasting({ start, end }: { start: number | undefined; end: number | undefined }) {
  const present = useNow(start !== undefined && end === undefined);
  if (start === undefined) return <span className="mute">{t.none}</span>;
  return <span className="num">{duration((end ?? present) - start)}</span>;
}

export function Button({
  children,
  onClick,
  href,
  kind = "plain",
  disabled,
  type = "button",
  label,
}: {
  children: ReactNode;
  onClick?: () => void;
  href?: string;
  kind?: "plain" | "primary" | "danger" | "quiet";
  disabled?: boolean;
  type?: "button" | "submit";
  label?: string;
}) {
  if (href) {
    return (
      <a className={`button ${kind}`} href={href} aria-label={label}>
        {children}
      </a>
    );
  }
  return (
    <button className={`button ${kind}`} type={type} onClick={onClick} disabled={disabled} aria-label={label} title={label}>
      {children}
    </button>
  );
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1600);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button type="button" className="icon" aria-label={t.copy.one(what)} title={t.copy.one(what)} onClick={() => void copy(text).then(() => setCopied(true))}>
      {copied ? <Check size={14} aria-hidden /> : <CopyIcon size={14} aria-hidden />}
      <span className="sr" aria-live="polite">
        {copied ? t.copy.done : ""}
      </span>
    </button>
  );
}

export function Command({ text }: { text: string }) {
  return (
    <div className="command">
      <code>{text}</code>
      <CopyButton text={text} what={t.copy.command} />
    </div>
  );
}

export function Facts({ items }: { items: { name: string; value: ReactNode }[] }) {
  return (
    <dl className="facts">
      {items.map((item) => (
        <div key={item.name}>
          <dt>{item.name}</dt>
          <dd>{item.value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function KeyValues({ items }: { items: { name: string; value: ReactNode }[] }) {
  return (
    <dl className="keyvalues">
      {items.map((item) => (
        <div key={item.name}>
          <dt>{item.name}</dt>
          <dd>{item.value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What is not there yet, and the one thing to do about it. */
export function Empty({ title, children, command }: { title: string; children?: ReactNode; command?: string }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      <div className="mute">{children}</div>
      {command && <Command text={command} />}
    </div>
  );
}

/** What failed, why, what to do. */
export function Problem({ error, doing, retry }: { error: unknown; doing: string; retry?: () => void }) {
  const message = error instanceof Error ? error.message : String(error);
  return (
    <div className="card failed" role="alert">
      <h3>{t.error.failed(doing)}</h3>
      <p>{message}</p>
      {error instanceof CallError && <p className="mute">{error.remedy}</p>}
      {retry && (
        <Button onClick={retry} kind="plain">
          {t.act.tryAgain}
        </Button>
      )}
      {error instanceof CallError && (
        <details>
          <summary>{t.error.details}</summary>
          <p>
            <code>
              {error.status || t.error.noAnswer} {error.path}
            </code>
          </p>
          {error.request && (
            <>
              <p>
                {t.error.request} <code>{error.request}</code>. {t.error.requestHint}
              </p>
              <Command text={`kubectl logs -n kubeflow deploy/dashboard | grep ${error.request}`} />
            </>
          )}
        </details>
      )}
    </div>
  );
}

/** Grey lines in place of what is being read; shown only when that takes a while. */
export function Loading({ what }: { what: string }) {
  return (
    <div className="skeleton" role="status">
      <span className="sr">{t.loading.reading(what)}</span>
      <i />
      <i />
      <i />
    </div>
  );
}

/** Tabs whose choice is part of the address. */
export function Tabs({ tabs, chosen, choose, label }: { tabs: { id: string; name: ReactNode }[]; chosen: string; choose: (id: string) => void; label: string }) {
  const onKeyDown = (event: React.KeyboardEvent<HTMLDivElement>) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.id === chosen);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (!next) return;
    choose(next.id);
    event.currentTarget.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} onKeyDown={onKeyDown}>
      {tabs.map((tab) => (
        <button
          key={tab.id}
          id={`tab-${tab.id}`}
          type="button"
          role="tab"
          aria-selected={tab.id === chosen}
          aria-controls="tab-panel"
          tabIndex={tab.id === chosen ? 0 : -1}
          onClick={() => choose(tab.id)}
        >
          {tab.name}
        </button>
      ))}
    </div>
  );
}

/** Asks before something is lost. */
export function Confirm({ title, children, action, run, close }: { title: string; children: ReactNode; action: string; run: () => void; close: () => void }) {
  const id = useId();
  return (
    <Dialog close={close} labelledBy={id}>
      {(shut) => (
        <>
          <h2 id={id}>{title}</h2>
          <div className="mute">{children}</div>
          <div className="row end">
            <button type="button" className="button" data-first onClick={shut}>{t.act.keep}</button>
            <Button kind="danger" onClick={run}>
              {action}
            </Button>
          </div>
        </>
      )}
    </Dialog>
  );
}

/** Head of a page: where it is, what it is, what can be done. */
export function Head({ crumbs, title, chip, actions, facts }: { crumbs?: { name: string; href?: string }[]; title: string; chip?: ReactNode; actions?: ReactNode; facts?: ReactNode }) {
  return (
    <header className="head">
      <div className="head-row">
        <div className="head-title">
          {crumbs && (
            <nav aria-label={t.shell.where} className="crumbs">
              {crumbs.map((crumb, index) => (
                <span key={crumb.name}>
                  {index > 0 && <span aria-hidden> / </span>}
                  {crumb.href ? <a href={crumb.href}>{crumb.name}</a> : crumb.name}
                </span>
              ))}
            </nav>
          )}
          <div className="title-row">
            <h1>{title}</h1>
            {chip}
          </div>
        </div>
        {actions && <div className="actions">{actions}</div>}
      </div>
      {facts}
    </header>
  );
}

/** The window's title and icon, which carry the state. */
export function useTitle(title: string, tone?: Tone) {
  useEffect(() => {
    document.title = t.title.page(title);
    const colours: Record<Tone, string> = { succeeded: "#1a8f4c", running: "#1f6fe0", failed: "#cf2f3b", attention: "#a86a10", cached: "#0b8593", waiting: "#7a8391" };
    const dot = tone ? `<circle cx="25" cy="25" r="7" fill="${colours[tone]}"/>` : "";
    const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M12 5h7L11 27H4zM22 5h7l-5 14h-7z" fill="#e8602c"/>${dot}</svg>`;
    document.getElementById("favicon")?.setAttribute("href", `data:image/svg+xml,${encodeURIComponent(icon)}`);
  }, [title, tone]);
}
