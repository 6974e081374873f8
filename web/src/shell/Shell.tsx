// What is around every page: navigation, namespace, search, theme, connection, sign-out.
import { Box, ChevronsUpDown, CircleHelp, FlaskConical, House, LogOut, Menu, Moon, Play, Search, Sun, SunMoon, Workflow, X } from "lucide-react";
import { createContext, lazy, type ReactNode, Suspense, useContext, useEffect, useRef, useState } from "react";
import { post } from "../api/client";
import { useConnection } from "../api/live";
import type { Session } from "../api/model";
import { api, page } from "../api/paths";
import { LIVE_RUNS, NEWEST, useLiveRuns, useRuns } from "../api/queries";
import { go, useRoute } from "../router";
import { isCommand, isTyping } from "../ui/keys";
import { Brand } from "./Brand";
import { Help } from "./Help";
import { type Namespaces, useNamespaces } from "./namespace";
import { setTheme, type Theme, useTheme } from "./theme";

const loadPalette = () => import("./Palette");
const Palette = lazy(async () => ({ default: (await loadPalette()).Palette }));

interface Around {
  session: Session;
  namespaces: Namespaces;
}

const Context = createContext<Around | undefined>(undefined);

/** Who looks, and at which namespace. */
export function useAround(): Around {
  const around = useContext(Context);
  if (!around) throw new Error("a page stands outside the shell");
  return around;
}

export function Shell({ session, signedOut, children }: { session: Session; signedOut: () => void; children: ReactNode }) {
  const route = useRoute();
  const [open, setOpen] = useState(false);
  const [over, setOver] = useState<"palette" | "help">();
  const hasPipelines = session.parts.includes("pipelines");
  useLiveRuns(hasPipelines);
  const namespaces = useNamespaces(session);
  const connection = useConnection();
  const main = useRef<HTMLElement>(null);
  const at = route.path.join("/");
  useEffect(() => setOpen(false), [at]);
  // Another page is read from its beginning.
  useEffect(() => {
    main.current?.scrollTo(0, 0);
  }, [at]);
  useKeys(namespaces.chosen, setOver);
  // What is typed right after Ctrl-K must find it there.
  useEffect(() => {
    const idle = setTimeout(() => void loadPalette(), 300);
    return () => clearTimeout(idle);
  }, []);
  const signOut = session.person.by === "session" ? () => void post(api.logout).finally(signedOut) : undefined;
  return (
    <Context.Provider value={{ session, namespaces }}>
      <div className="shell">
        <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
        <header className="topbar">
          <button type="button" className="icon" aria-label="Open the navigation" aria-expanded={open} onClick={() => setOpen(true)}><Menu size={18} aria-hidden /></button>
          <Brand />
          <span className="grow" />
          <button type="button" className="icon" aria-label="Search" onClick={() => setOver("palette")}><Search size={17} aria-hidden /></button>
        </header>
        {open && <div className="veil" onClick={() => setOpen(false)} />}
        <nav className={open ? "nav open" : "nav"} aria-label="Main" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
          <div className="nav-brand"><Brand /><button type="button" className="icon close" aria-label="Close the navigation" onClick={() => setOpen(false)}><X size={18} aria-hidden /></button></div>
          <label className="namespace" title="Namespace">
            <span className="sr">Namespace</span>
            <select value={namespaces.chosen} onChange={(event) => namespaces.choose(event.target.value)}>
              {namespaces.all.map((name) => <option key={name}>{name}</option>)}
            </select>
            <span className="mute small" aria-hidden>namespace</span>
            <ChevronsUpDown size={12} aria-hidden />
          </label>
          <Entry href={page.home} icon={<House size={16} aria-hidden />} name="Home" active={route.path.length === 0} />
          <button type="button" className="entry" onClick={() => setOver("palette")} aria-keyshortcuts="Control+K Meta+K" title="Search">
            <Search size={16} aria-hidden />
            <span className="entry-name">Search</span>
            <kbd className="entry-key" aria-hidden>Ctrl K</kbd>
          </button>
          {hasPipelines && (
            <>
              <h2 className="nav-group">Pipelines</h2>
              <Entry href={page.pipelines} icon={<Workflow size={16} aria-hidden />} name="Pipelines" active={route.path[0] === "pipelines"} />
              <RunsEntry active={route.path[0] === "runs"} />
              <Entry href={page.experiments} icon={<FlaskConical size={16} aria-hidden />} name="Experiments" active={route.path[0] === "experiments"} />
            </>
          )}
          <h2 className="nav-group">Machine</h2>
          <Entry href={page.pods(namespaces.chosen)} icon={<Box size={16} aria-hidden />} name="Pods" active={route.path[0] === "pods"} />
          <div className="nav-end">
            <button type="button" className="entry" onClick={() => setOver("help")} aria-keyshortcuts="?" title="Keyboard"><CircleHelp size={16} aria-hidden /><span className="entry-name">Keyboard</span><kbd className="entry-key" aria-hidden>?</kbd></button>
            <ThemeChoice />
            {signOut && <button type="button" className="entry" onClick={signOut} title="Sign out"><LogOut size={16} aria-hidden /><span className="entry-name">Sign out</span></button>}
            <div className="mute small who" title={PROOFS[session.person.by]}>{session.person.user} · {session.version}</div>
          </div>
        </nav>
        <main id="main" ref={main} tabIndex={-1}>
          {connection === "lost" && <div className="offline" role="status">The connection is lost; what you see may be old. Trying again…</div>}
          {children}
        </main>
        {over === "palette" && (
          <Suspense fallback={null}>
            <Palette session={session} namespaces={namespaces} close={() => setOver(undefined)} help={() => setTimeout(() => setOver("help"))} signOut={signOut} />
          </Suspense>
        )}
        {over === "help" && <Help close={() => setOver(undefined)} />}
      </div>
    </Context.Provider>
  );
}

const PROOFS: Record<Session["person"]["by"], string> = {
  owner: "Recognised by the connection: this browser runs as the user who started Ferroflow",
  token: "Signed in by a token",
  session: "Signed in by kfctl login",
};

/** Keys that work on every page. */
function useKeys(namespace: string, show: (what: "palette" | "help") => void) {
  useEffect(() => {
    let went = 0;
    const places: Record<string, string> = { h: page.home, r: page.runs, p: page.pipelines, e: page.experiments, o: page.pods(namespace) };
    const onKey = (event: KeyboardEvent) => {
      if (isCommand(event) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        if (!document.querySelector("dialog[open]")) show("palette");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const place = places[event.key];
      if (event.key === "?") show("help");
      else if (event.key === "g") went = event.timeStamp;
      else if (place && went > 0 && event.timeStamp - went < 1500) {
        went = 0;
        go(place);
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [namespace, show]);
}

function Entry({ href, icon, name, active, count }: { href: string; icon: ReactNode; name: string; active: boolean; count?: string }) {
  return (
    <a className="entry" href={href} aria-current={active ? "page" : undefined} aria-label={count ? `${name}, ${count}` : name} title={name}>
      {icon}
      <span className="entry-name">{name}</span>
      {count && <span className="entry-count">{count}</span>}
    </a>
  );
}

function RunsEntry({ active }: { active: boolean }) {
  const live = useRuns(LIVE_RUNS, NEWEST, 20).total;
  return <Entry href={page.runs} icon={<Play size={16} aria-hidden />} name="Runs" active={active} count={live > 0 ? `${live} live` : undefined} />;
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function ThemeChoice() {
  const theme = useTheme();
  const icon = theme === "light" ? <Sun size={16} aria-hidden /> : theme === "dark" ? <Moon size={16} aria-hidden /> : <SunMoon size={16} aria-hidden />;
  return (
    <button type="button" className="entry" onClick={() => setTheme(NEXT[theme])} title={`Change to ${NEXT[theme]}`}>
      {icon}
      <span className="entry-name">{theme === "system" ? "System colours" : theme === "light" ? "Light" : "Dark"}</span>
    </button>
  );
}
