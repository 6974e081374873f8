// What is around every page: navigation, namespace, search, theme, connection, sign-out.
import { Box, ChevronsUpDown, CircleHelp, FlaskConical, House, KeyRound, LogOut, Menu, Moon, Play, Search, Sun, SunMoon, Workflow, X } from "lucide-react";
import { createContext, lazy, type ReactNode, Suspense, useCallback, useContext, useEffect, useRef, useState } from "react";
import { post } from "../api/client";
import { useConnection } from "../api/live";
import type { Session } from "../api/model";
import { api, page } from "../api/paths";
import { LIVE_RUNS, NEWEST, useLiveRuns, useRuns } from "../api/queries";
import { go, useRoute } from "../router";
import { t } from "../strings";
import { isCommand, isTyping } from "../ui/keys";
import { Brand } from "./Brand";
import { Help } from "./Help";
import { type Namespaces, useNamespaces } from "./namespace";
import { setTheme, type Theme, useTheme } from "./theme";

const loadPalette = () => import("./Palette");
const Palette = lazy(async () => ({ default: (await loadPalette()).Palette }));

/** What floats above the pages; another time is another one. */
interface Over {
  what: "palette" | "help";
}

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
  const [over, setOver] = useState<Over>();
  const show = useCallback((what: Over["what"]) => setOver({ what }), []);
  // What closes is this one: another may have come in its place meanwhile.
  const closed = useCallback(() => setOver((now) => (now === over ? undefined : now)), [over]);
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
  useKeys(namespaces.chosen, show);
  // What is typed right after Ctrl-K must find it there.
  useEffect(() => {
    const idle = setTimeout(() => void loadPalette(), 300);
    return () => clearTimeout(idle);
  }, []);
  const leave = session.has_password ? () => window.location.assign("/login") : signedOut;
  const signOut = session.person.by === "session" ? () => void post(api.logout).finally(leave) : undefined;
  return (
    <Context.Provider value={{ session, namespaces }}>
      <div className="shell">
        <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>{t.shell.skip}</a>
        <header className="topbar">
          <button type="button" className="icon" aria-label={t.shell.openNavigation} aria-expanded={open} onClick={() => setOpen(true)}><Menu size={18} aria-hidden /></button>
          <Brand />
          <span className="grow" />
          <button type="button" className="icon" aria-label={t.shell.search} onClick={() => show("palette")}><Search size={17} aria-hidden /></button>
        </header>
        {open && <div className="veil" onClick={() => setOpen(false)} />}
        <nav className={open ? "nav open" : "nav"} aria-label={t.shell.main} onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
          <div className="nav-brand"><Brand /><button type="button" className="icon close" aria-label={t.shell.closeNavigation} onClick={() => setOpen(false)}><X size={18} aria-hidden /></button></div>
          <label className="namespace" title={t.shell.namespace}>
            <span className="sr">{t.shell.namespace}</span>
            <select value={namespaces.chosen} onChange={(event) => namespaces.choose(event.target.value)}>
              {namespaces.all.map((name) => <option key={name}>{name}</option>)}
            </select>
            <span className="mute small" aria-hidden>{t.shell.namespaceHint}</span>
            <ChevronsUpDown size={12} aria-hidden />
          </label>
          <Entry href={page.home} icon={<House size={16} aria-hidden />} name={t.page.home} active={route.path.length === 0} />
          <button type="button" className="entry" onClick={() => show("palette")} aria-keyshortcuts="Control+K Meta+K" title={t.shell.search}>
            <Search size={16} aria-hidden />
            <span className="entry-name">{t.shell.search}</span>
            <kbd className="entry-key" aria-hidden>{t.shell.searchKeys}</kbd>
          </button>
          {hasPipelines && (
            <>
              <h2 className="nav-group">{t.shell.groups.pipelines}</h2>
              <Entry href={page.pipelines} icon={<Workflow size={16} aria-hidden />} name={t.page.pipelines} active={route.path[0] === "pipelines"} />
              <RunsEntry active={route.path[0] === "runs"} />
              <Entry href={page.experiments} icon={<FlaskConical size={16} aria-hidden />} name={t.page.experiments} active={route.path[0] === "experiments"} />
            </>
          )}
          <h2 className="nav-group">{t.shell.groups.machine}</h2>
          <Entry href={page.pods(namespaces.chosen)} icon={<Box size={16} aria-hidden />} name={t.page.pods} active={route.path[0] === "pods"} />
          <div className="nav-end">
            <button type="button" className="entry" onClick={() => show("help")} aria-keyshortcuts="?" title={t.shell.keyboard}><CircleHelp size={16} aria-hidden /><span className="entry-name">{t.shell.keyboard}</span><kbd className="entry-key" aria-hidden>{t.shell.keyboardKey}</kbd></button>
            <ThemeChoice />
            {session.has_password && <a className="entry" href="/password" title={t.shell.password}><KeyRound size={16} aria-hidden /><span className="entry-name">{t.shell.password}</span></a>}
            {signOut && <button type="button" className="entry" onClick={signOut} title={t.shell.signOut}><LogOut size={16} aria-hidden /><span className="entry-name">{t.shell.signOut}</span></button>}
            <div className="mute small who" title={t.shell.proofs[session.person.by]}>{t.shell.who(session.person.user, session.version)}</div>
          </div>
        </nav>
        <main id="main" ref={main} tabIndex={-1}>
          {connection === "lost" && <div className="offline" role="status">{t.shell.offline}</div>}
          {children}
        </main>
        {over?.what === "palette" && (
          <Suspense fallback={null}>
            <Palette session={session} namespaces={namespaces} close={closed} help={() => show("help")} signOut={signOut} />
          </Suspense>
        )}
        {over?.what === "help" && <Help close={closed} />}
      </div>
    </Context.Provider>
  );
}

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
    <a className="entry" href={href} aria-current={active ? "page" : undefined} aria-label={count ? t.shell.counted(name, count) : name} title={name}>
      {icon}
      <span className="entry-name">{name}</span>
      {count && <span className="entry-count">{count}</span>}
    </a>
  );
}

function RunsEntry({ active }: { active: boolean }) {
  const live = useRuns(LIVE_RUNS, NEWEST, 20).total;
  return <Entry href={page.runs} icon={<Play size={16} aria-hidden />} name={t.page.runs} active={active} count={live > 0 ? t.state.live(live) : undefined} />;
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function ThemeChoice() {
  const theme = useTheme();
  const icon = theme === "light" ? <Sun size={16} aria-hidden /> : theme === "dark" ? <Moon size={16} aria-hidden /> : <SunMoon size={16} aria-hidden />;
  return (
    <button type="button" className="entry" onClick={() => setTheme(NEXT[theme])} title={t.shell.changeTheme(NEXT[theme])}>
      {icon}
      <span className="entry-name">{t.shell.theme[theme]}</span>
    </button>
  );
}
