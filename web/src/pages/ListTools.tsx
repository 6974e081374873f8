// Columns and saved views of one list, bound to the address.
import { setQuery } from "../router";
import { type Choice, ColumnChooser, SavedViews } from "../ui/ListTools";
import type { Column } from "../ui/Table";
import { useViews, viewOf } from "../ui/views";

const enc = encodeURIComponent;

/** The columns that an address asks for, in its order; the first of the list is always there. */
export function columnsOf(query: URLSearchParams, atFirst: string[]): string[] {
  const asked = query.get("columns")?.split(",").map(decodeURIComponent).filter(Boolean);
  if (!asked || asked.length === 0) return atFirst;
  const first = atFirst[0];
  return first === undefined || asked.includes(first) ? asked : [first, ...asked];
}

/** The chosen ones of all columns, in the order of the list, with what was chosen beyond it at the end. */
export function pick<T>(all: Column<T>[], chosen: string[]): Column<T>[] {
  return all.filter((column) => chosen.includes(column.id));
}

export function ListTools({ list, address, query, choices, atFirst, hasValues }: { list: string; address: string; query: URLSearchParams; choices: Choice[]; atFirst: string[]; hasValues?: boolean }) {
  const { views, save, forget } = useViews(list);
  const isAtFirst = (columns: string[]) => columns.length === atFirst.length && columns.every((one) => atFirst.includes(one));
  const change = (columns: string[] | undefined) => setQuery({ columns: columns && !isAtFirst(columns) ? columns.map(enc).join(",") : undefined });
  // What an address without its columns shows is one of them; the first cannot be taken away.
  const first = atFirst[0];
  return (
    <div className="list-tools">
      <SavedViews views={views} present={viewOf(query)} hrefOf={(view) => `${address}${view.query ? `?${view.query}` : ""}`} save={(name) => save(name, query)} forget={forget} />
      <ColumnChooser all={choices.filter((one) => one.id !== first)} chosen={columnsOf(query, atFirst)} change={change} hasValues={hasValues} />
    </div>
  );
}
