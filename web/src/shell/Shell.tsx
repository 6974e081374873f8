// What is around every page: navigation, theme, connection, sign-in.
import { FlaskConical, House, Menu, Moon, Play, Sun, SunMoon, Workflow, X } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useConnection } from "../api/live";
import { isOver, type Session } from "../api/model";
import { page } from "../api/paths";
import { useLiveRuns, useRuns } from "../api/queries";
import { useRoute } from "../router";
import { Command } from "../ui/parts";
import { setTheme, type Theme, useTheme } from "./theme";

export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const route = useRoute();
  const [open, setOpen] = useState(false);
  const hasPipelines = session.parts.includes("pipelines");
  useLiveRuns(hasPipelines);
  const connection = useConnection();
  const main = useRef<HTMLElement>(null);
  const at = route.path.join("/");
  useEffect(() => setOpen(false), [at]);
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
      <header className="topbar">
        <button type="button" className="icon" aria-label="Open the navigation" aria-expanded={open} onClick={() => setOpen(true)}><Menu size={18} aria-hidden /></button>
        <Brand />
      </header>
      {open && <div className="veil" onClick={() => setOpen(false)} />}
      <nav className={open ? "nav open" : "nav"} aria-label="Main" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
        <div className="nav-brand"><Brand /><button type="button" className="icon close" aria-label="Close the navigation" onClick={() => setOpen(false)}><X size={18} aria-hidden /></button></div>
        <div className="namespace" title={`Namespace ${session.namespace}`}><span className="clip">{session.namespace}</span><span className="mute small">namespace</span></div>
        <Entry href={page.home} icon={<House size={16} aria-hidden />} name="Home" active={route.path.length === 0} />
        {hasPipelines && (
          <>
            <h2 className="nav-group">Pipelines</h2>
            <Entry href={page.pipelines} icon={<Workflow size={16} aria-hidden />} name="Pipelines" active={route.path[0] === "pipelines"} />
            <RunsEntry active={route.path[0] === "runs"} />
            <Entry href={page.experiments} icon={<FlaskConical size={16} aria-hidden />} name="Experiments" active={route.path[0] === "experiments"} />
          </>
        )}
        <div className="nav-end">
          <ThemeChoice />
          <div className="mute small who" title={`Signed in by ${session.person.by}`}>{session.person.user} · {session.version}</div>
        </div>
      </nav>
      <main id="main" ref={main} tabIndex={-1}>
        {connection === "lost" && <div className="offline" role="status">The connection is lost; what you see may be old. Trying again…</div>}
        {children}
      </main>
    </div>
  );
}

function Brand() {
  return (
    <a className="brand" href={page.home} aria-label="Ferroflow, home">
      <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden><path d="M12 5h7L11 27H4zM22 5h7l-8 22h-7z" fill="#e8602c" /></svg>
      <b>Ferroflow</b>
    </a>
  );
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
  const runs = useRuns();
  const live = runs.data?.pages.flatMap((one) => one.runs ?? []).filter((run) => !isOver(run.state)).length ?? 0;
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

export function SignIn() {
  return (
    <main className="sign-in">
      <Brand />
      <h1>Sign in</h1>
      <p>There is no password. On the machine where Ferroflow runs, type</p>
      <Command text="kfctl login" />
      <p className="mute">It prints an address that works once. Open it in this browser, and you are in.</p>
    </main>
  );
}
