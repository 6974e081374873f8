// Rows of runs, on every page that lists some; parameters and metrics may be columns.
import { useMemo } from "react";
import { isOver, metricsOf, moment, type Run } from "../api/model";
import { page } from "../api/paths";
import { cause, short } from "../format";
import { t } from "../strings";
import type { Choice } from "../ui/ListTools";
import { Lasting, Since, StateChip } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { pick } from "./ListTools";

const COLUMNS: Column<Run>[] = [
  { id: "name", name: t.runs.name, sort: "display_name", className: "name", cell: (run) => run.display_name ?? run.run_id },
  { id: "state", name: t.runs.state, width: "124px", sort: "state", cell: (run) => <StateChip state={run.state} /> },
  { id: "what", name: t.runs.what, width: "34%", isWide: true, className: "clip mute", cell: (run) => <span title={run.error?.message}>{run.error?.message ? cause(run.error.message) : ""}</span> },
  { id: "lasted", name: t.runs.lasted, width: "92px", className: "num", isWide: true, cell: (run) => <Lasting start={moment(run.created_at)} end={isOver(run.state) ? (moment(run.finished_at) ?? moment(run.created_at)) : undefined} /> },
  { id: "started", name: t.runs.started, width: "112px", sort: "created_at", className: "num mute", cell: (run) => <Since at={moment(run.created_at)} /> },
  { id: "finished", name: t.runs.finished, width: "112px", sort: "finished_at", className: "num mute", isWide: true, cell: (run) => <Since at={moment(run.finished_at)} /> },
  { id: "id", name: t.runs.id, width: "290px", className: "mute", isWide: true, cell: (run) => <code>{run.run_id}</code> },
];
/** What a list of runs shows unless told otherwise. */
export const RUN_COLUMNS = ["name", "state", "what", "lasted", "started"];
/** Beside other things there is room for less. */
const INLINE = RUN_COLUMNS.filter((id) => id !== "what");

const VALUE = /^(param|metric)\.(.+)$/s;

/** A parameter or metric as a column. The server sorts by those whose name is one word. */
function valueColumn(id: string): Column<Run> | undefined {
  const [, of, name] = VALUE.exec(id) ?? [];
  if (!of || !name) return undefined;
  const isWord = !/[\s"\\]/.test(name);
  const read = (run: Run) => (of === "param" ? run.runtime_config?.parameters?.[name] : metricsOf(run)[name]);
  return {
    id,
    name: <code>{name}</code>,
    width: "128px",
    className: "num clip value",
    sort: isWord ? `${of === "param" ? "parameters" : "metrics"}.${name}` : undefined,
    cell: (run) => <code title={short(read(run))}>{short(read(run))}</code>,
  };
}

/** Everything that may be a column of these runs. */
export function runChoices(runs: Run[], chosen: string[]): Choice[] {
  const parameters = new Set<string>();
  const metrics = new Set<string>();
  for (const run of runs) {
    for (const name of Object.keys(run.runtime_config?.parameters ?? {})) parameters.add(name);
    for (const name of Object.keys(metricsOf(run))) metrics.add(name);
  }
  // What the address asks for is there, even where none of these runs has it.
  for (const id of chosen) {
    const [, of, name] = VALUE.exec(id) ?? [];
    if (name) (of === "param" ? parameters : metrics).add(name);
  }
  return [
    ...COLUMNS.map(({ id, name }) => ({ id, name: String(name), group: "fields" as const })),
    ...[...parameters].sort().map((name) => ({ id: `param.${name}`, name, group: "parameters" as const })),
    ...[...metrics].sort().map((name) => ({ id: `metric.${name}`, name, group: "metrics" as const })),
  ];
}

interface Props {
  runs: Run[];
  columns?: string[];
  total?: number;
  sort?: string;
  onSort?: (sort: string) => void;
  chosen?: ReadonlySet<string>;
  onChoose?: (id: string) => void;
  onChooseAll?: (all: boolean) => void;
  more?: () => void;
  view?: string;
  isInline?: boolean;
}

export function RunTable({ runs, columns: ids, isInline, ...rest }: Props) {
  const columns = useMemo(() => {
    const chosen = ids ?? (isInline ? INLINE : RUN_COLUMNS);
    return [...pick(COLUMNS, chosen), ...chosen.map(valueColumn).filter((column) => column !== undefined)];
  }, [ids, isInline]);
  return <Table label={t.page.runs} columns={columns} rows={runs} keyOf={keyOf} nameOf={nameOf} hrefOf={hrefOf} isInline={isInline} {...rest} />;
}

const keyOf = (run: Run) => run.run_id;
const nameOf = (run: Run) => run.display_name ?? run.run_id;
const hrefOf = (run: Run) => page.run(run.run_id);
