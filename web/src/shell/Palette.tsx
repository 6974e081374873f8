// Search by keyboard: pages, actions, steps of the run in view, and what the server finds among runs and pipelines.
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { Command } from "cmdk";
import { Bookmark, Box, CircleSlash, FlaskConical, House, Keyboard, LogOut, Moon, Play, Square, SunMoon, Sun, Upload, Workflow } from "lucide-react";
import { type ReactNode, useDeferredValue, useMemo, useState } from "react";
import { call } from "../api/client";
import { isStep, type PipelineList, type Run, type RunList, type Session } from "../api/model";
import { api, page } from "../api/paths";
import { NEWEST } from "../api/queries";
import { go, useRoute } from "../router";
import { t } from "../strings";
import { Dialog } from "../ui/Dialog";
import { StateIcon, wordOf } from "../ui/parts";
import { useViews } from "../ui/views";
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
  const [typed, setTyped] = useState("");
  const sought = useDeferredValue(typed.trim());
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
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
      { id: "home", name: t.page.home, icon: <House {...ICON} />, run: to(page.home) },
      { id: "runs", name: t.page.runs, icon: <Play {...ICON} />, run: to(page.runs) },
      { id: "live", name: t.palette.live, icon: <Play {...ICON} />, run: to(page.runsBy("state:live")) },
      { id: "failed", name: t.palette.failed, icon: <Play {...ICON} />, run: to(page.runsBy("state:failed")) },
      { id: "pipelines", name: t.page.pipelines, icon: <Workflow {...ICON} />, run: to(page.pipelines) },
      { id: "experiments", name: t.page.experiments, icon: <FlaskConical {...ICON} />, run: to(page.experiments) },
      { id: "pods", name: t.page.pods, more: namespaces.chosen, icon: <Box {...ICON} />, run: to(page.pods(namespaces.chosen)) },
    ];
    const seen = new Set<string>();
    const absent = session.absent
      .filter(({ title }) => !seen.has(title) && seen.add(title))
      .map(({ title, prefix }) => ({ id: `absent-${prefix}`, name: title, more: t.absent.short, icon: <CircleSlash {...ICON} />, run: to(`#${prefix}`) }));
    return [...listed, ...absent];
  }, [session.absent, namespaces.chosen]);
  const theme = (name: Theme) => () => setTheme(name);
  const actions: Entry[] = [
    { id: "upload", name: t.palette.upload, icon: <Upload {...ICON} />, run: to(page.pipelines) },
    ...namespaces.all.map((name) => ({ id: `ns-${name}`, name: t.palette.namespace(name), more: name === namespaces.chosen ? t.palette.chosen : undefined, icon: <Square {...ICON} />, run: () => namespaces.choose(name) })),
    { id: "light", name: t.palette.light, icon: <Sun {...ICON} />, run: theme("light") },
    { id: "dark", name: t.palette.dark, icon: <Moon {...ICON} />, run: theme("dark") },
    { id: "system", name: t.palette.system, icon: <SunMoon {...ICON} />, run: theme("system") },
    { id: "help", name: t.palette.help, icon: <Keyboard {...ICON} />, run: help },
    ...(signOut ? [{ id: "out", name: t.shell.signOut, icon: <LogOut {...ICON} />, run: signOut }] : []),
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
    more: t.palette.run(wordOf(run.state), run.run_id.slice(0, 8)),
    icon: <StateIcon state={run.state} size={14} />,
    run: to(page.run(run.run_id)),
  }));
  const foundPipelines: Entry[] = (pipelines.data?.pipelines ?? []).map((one) => ({ id: `pipeline-${one.pipeline_id}`, name: one.display_name ?? one.name ?? one.pipeline_id, icon: <Workflow {...ICON} />, run: to(page.pipeline(one.pipeline_id)) }));
  const { views } = useViews("runs");
  const saved: Entry[] = views.map((view) => ({ id: `view-${view.name}`, name: view.name, more: t.page.runs, icon: <Bookmark {...ICON} />, run: to(`${page.runs}?${view.query}`) }));
  const isIdle = words.length === 0;
  const groups = [
    { name: t.palette.groups.pages, entries: pages.filter((entry) => fits(entry, words)).filter((entry) => !isIdle || !entry.id.startsWith("absent")) },
    { name: t.palette.groups.steps, entries: steps.filter((entry) => fits(entry, words)).slice(0, 12) },
    // What is still there from the search before is left out, or Enter would open it.
    { name: t.palette.groups.runs, entries: found.filter((entry) => fits(entry, words)) },
    { name: t.palette.groups.pipelines, entries: foundPipelines.filter((entry) => fits(entry, words)) },
    { name: t.palette.groups.views, entries: saved.filter((entry) => fits(entry, words)) },
    { name: t.palette.groups.actions, entries: actions.filter((entry) => fits(entry, words)).filter((entry) => !isIdle || !entry.id.startsWith("ns-")) },
  ].filter((group) => group.entries.length > 0);
  return (
    <Dialog close={close} className="palette" label={t.shell.search}>
      {(shut) => (
        <Command label={t.shell.search} shouldFilter={false} loop>
          <Command.Input value={typed} onValueChange={setTyped} placeholder={t.palette.hint} aria-label={t.shell.search} />
          <Command.List label={t.palette.results} tabIndex={-1}>
            <Command.Empty>{t.palette.nothing}</Command.Empty>
            {groups.map((group) => (
              <Command.Group key={group.name} heading={group.name}>
                {group.entries.map((entry) => (
                  <Command.Item
                    key={entry.id}
                    value={entry.id}
                    onSelect={() => {
                      shut();
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
      )}
    </Dialog>
  );
}
