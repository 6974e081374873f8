// Search by keyboard: pages, actions, steps of the run in view, and what the server finds among runs and pipelines.
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { Command } from "cmdk";
import { Box, CircleSlash, FlaskConical, House, Keyboard, LogOut, Moon, Play, Square, SunMoon, Sun, Upload, Workflow } from "lucide-react";
import { type ReactNode, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { call } from "../api/client";
import { isStep, type PipelineList, type Run, type RunList, type Session } from "../api/model";
import { api, page } from "../api/paths";
import { NEWEST } from "../api/queries";
import { go, useRoute } from "../router";
import { StateIcon, wordOf } from "../ui/parts";
import type { Namespaces } from "./namespace";
import { setTheme, type Theme } from "./theme";

interface Entry {
  id: string;
  name: string;
  more?: string;
  icon: ReactNode;
  run: () => void;
}

interface Props {
  session: Session;
  namespaces: Namespaces;
  close: () => void;
  help: () => void;
  signOut?: () => void;
}

const ICON = { size: 15, "aria-hidden": true } as const;
/** Entries of one kind that are shown. */
const SHOWN = 6;

function fits(entry: { name: string; more?: string }, words: string[]): boolean {
  const text = `${entry.name} ${entry.more ?? ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

export function Palette({ session, namespaces, close, help, signOut }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const sought = useDeferredValue(typed.trim());
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  useEffect(() => {
    dialog.current?.showModal();
    // The dialog itself would choose the frame around the box.
    dialog.current?.querySelector("input")?.focus();
  }, []);
  const to = (address: string) => () => go(address);

  const runs = useQuery({
    queryKey: ["palette-runs", sought],
    queryFn: () => call<RunList>(api.runs("", sought ? { text: sought } : {}, NEWEST, SHOWN)),
    placeholderData: keepPreviousData,
    staleTime: 5000,
  });
  const pipelines = useQuery({
    queryKey: ["palette-pipelines", sought],
    queryFn: () => call<PipelineList>(api.pipelines("", sought, NEWEST, SHOWN)),
    placeholderData: keepPreviousData,
    staleTime: 5000,
  });
  const route = useRoute();
  const cache = useQueryClient();
  const runId = route.path[0] === "runs" && route.path[1] === "details" ? route.path[2] : undefined;
  const present = runId ? cache.getQueryData<Run>(["run", runId]) : undefined;

  const pages: Entry[] = useMemo(() => {
    const listed = [
      { id: "home", name: "Home", icon: <House {...ICON} />, run: to(page.home) },
      { id: "runs", name: "Runs", icon: <Play {...ICON} />, run: to(page.runs) },
      { id: "live", name: "Runs that are live", icon: <Play {...ICON} />, run: to(page.runsBy("state:live")) },
      { id: "failed", name: "Runs that failed", icon: <Play {...ICON} />, run: to(page.runsBy("state:failed")) },
      { id: "pipelines", name: "Pipelines", icon: <Workflow {...ICON} />, run: to(page.pipelines) },
      { id: "experiments", name: "Experiments", icon: <FlaskConical {...ICON} />, run: to(page.experiments) },
      { id: "pods", name: "Pods", more: namespaces.chosen, icon: <Box {...ICON} />, run: to(page.pods(namespaces.chosen)) },
    ];
    const seen = new Set<string>();
    const absent = session.absent
      .filter(({ title }) => !seen.has(title) && seen.add(title))
      .map(({ title, prefix }) => ({ id: `absent-${prefix}`, name: title, more: "not in this version", icon: <CircleSlash {...ICON} />, run: to(`#${prefix}`) }));
    return [...listed, ...absent];
  }, [session.absent, namespaces.chosen]);
  const theme = (name: Theme) => () => setTheme(name);
  const actions: Entry[] = [
    { id: "upload", name: "Upload a pipeline", icon: <Upload {...ICON} />, run: to(page.pipelines) },
    ...namespaces.all.map((name) => ({ id: `ns-${name}`, name: `Switch to namespace ${name}`, more: name === namespaces.chosen ? "chosen" : undefined, icon: <Square {...ICON} />, run: () => namespaces.choose(name) })),
    { id: "light", name: "Light colours", icon: <Sun {...ICON} />, run: theme("light") },
    { id: "dark", name: "Dark colours", icon: <Moon {...ICON} />, run: theme("dark") },
    { id: "system", name: "Colours of the system", icon: <SunMoon {...ICON} />, run: theme("system") },
    { id: "help", name: "Keyboard help", icon: <Keyboard {...ICON} />, run: help },
    ...(signOut ? [{ id: "out", name: "Sign out", icon: <LogOut {...ICON} />, run: signOut }] : []),
  ];
  const steps: Entry[] = (present?.tasks ?? []).filter(isStep).map((task) => ({
    id: `step-${task.task_id}`,
    name: task.display_name ?? task.name,
    more: wordOf(task.state),
    icon: <StateIcon state={task.state} size={14} />,
    run: to(page.run(runId ?? "", task.task_id)),
  }));
  const found: Entry[] = (runs.data?.runs ?? []).map((run) => ({
    id: `run-${run.run_id}`,
    name: run.display_name ?? run.run_id,
    more: `${wordOf(run.state)} · ${run.run_id.slice(0, 8)}`,
    icon: <StateIcon state={run.state} size={14} />,
    run: to(page.run(run.run_id)),
  }));
  const foundPipelines: Entry[] = (pipelines.data?.pipelines ?? []).map((one) => ({ id: `pipeline-${one.pipeline_id}`, name: one.display_name ?? one.name ?? one.pipeline_id, icon: <Workflow {...ICON} />, run: to(page.pipeline(one.pipeline_id)) }));
  const isIdle = words.length === 0;
  const groups = [
    { name: "Pages", entries: pages.filter((entry) => fits(entry, words)).filter((entry) => !isIdle || !entry.id.startsWith("absent")) },
    { name: "Steps of this run", entries: steps.filter((entry) => fits(entry, words)).slice(0, 12) },
    // What is still there from the search before is left out, or Enter would open it.
    { name: "Runs", entries: found.filter((entry) => fits(entry, words)) },
    { name: "Pipelines", entries: foundPipelines.filter((entry) => fits(entry, words)) },
    { name: "Actions", entries: actions.filter((entry) => fits(entry, words)).filter((entry) => !isIdle || !entry.id.startsWith("ns-")) },
  ].filter((group) => group.entries.length > 0);
  return (
    <dialog ref={dialog} className="palette" onClose={close} aria-label="Search" onClick={(event) => event.target === dialog.current && dialog.current.close()}>
      <Command label="Search" shouldFilter={false} loop>
        <Command.Input value={typed} onValueChange={setTyped} placeholder="Search pages, runs, pipelines, steps, actions" aria-label="Search" />
        <Command.List label="Results" tabIndex={-1}>
          <Command.Empty>Nothing has this name.</Command.Empty>
          {groups.map((group) => (
            <Command.Group key={group.name} heading={group.name}>
              {group.entries.map((entry) => (
                <Command.Item
                  key={entry.id}
                  value={entry.id}
                  onSelect={() => {
                    dialog.current?.close();
                    entry.run();
                  }}
                >
                  {entry.icon}
                  <span className="grow clip">{entry.name}</span>
                  {entry.more && <span className="mute">{entry.more}</span>}
                </Command.Item>
              ))}
            </Command.Group>
          ))}
        </Command.List>
      </Command>
    </dialog>
  );
}
