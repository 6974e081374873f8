// Rows of runs, on every page that lists some.
import { isOver, moment, type Run } from "../api/model";
import { page } from "../api/paths";
import { cause } from "../format";
import { Lasting, Since, StateChip } from "../ui/parts";
import { type Column, Table } from "../ui/Table";

const COLUMNS: Column<Run>[] = [
  { id: "name", name: "Name", sort: "display_name", className: "name", cell: (run) => run.display_name ?? run.run_id },
  { id: "state", name: "State", width: "124px", sort: "state", cell: (run) => <StateChip state={run.state} /> },
  { id: "what", name: "What happened", width: "34%", isWide: true, className: "clip mute", cell: (run) => <span title={run.error?.message}>{run.error?.message ? cause(run.error.message) : ""}</span> },
  { id: "lasted", name: "Lasted", width: "92px", className: "num", isWide: true, cell: (run) => <Lasting start={moment(run.created_at)} end={isOver(run.state) ? (moment(run.finished_at) ?? moment(run.created_at)) : undefined} /> },
  { id: "started", name: "Started", width: "104px", sort: "created_at", className: "num mute", cell: (run) => <Since at={moment(run.created_at)} /> },
];
/** Beside other things there is room for less. */
const INLINE = COLUMNS.filter((column) => column.id !== "what");

interface Props {
  runs: Run[];
  total?: number;
  sort?: string;
  onSort?: (sort: string) => void;
  chosen?: ReadonlySet<string>;
  onChoose?: (id: string) => void;
  more?: () => void;
  view?: string;
  isInline?: boolean;
}

export function RunTable({ runs, isInline, ...rest }: Props) {
  return (
    <Table label="Runs" columns={isInline ? INLINE : COLUMNS} rows={runs} keyOf={keyOf} nameOf={nameOf} hrefOf={hrefOf} isInline={isInline} {...rest} />
  );
}

const keyOf = (run: Run) => run.run_id;
const nameOf = (run: Run) => run.display_name ?? run.run_id;
const hrefOf = (run: Run) => page.run(run.run_id);
