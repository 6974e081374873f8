// The one table: rows are links, only those in view are drawn, j and k move, x chooses, the head sorts. It knows no API.
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ArrowUp } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { t } from "../strings";
import { isTyping } from "./keys";
import { useMedia } from "./media";

export interface Column<T> {
  id: string;
  name: ReactNode;
  /** CSS width; the column without one takes what is left. */
  width?: string;
  /** Left out where there is no room. */
  isWide?: boolean;
  /** Field of the API by which the server sorts. */
  sort?: string;
  className?: string;
  cell: (row: T) => ReactNode;
}

interface Props<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  /** Rows there are on the server. */
  total?: number;
  keyOf: (row: T) => string;
  nameOf: (row: T) => string;
  hrefOf?: (row: T) => string;
  sort?: string;
  onSort?: (sort: string) => void;
  chosen?: ReadonlySet<string>;
  onChoose?: (key: string) => void;
  /** Chooses all rows that are loaded, or none. */
  onChooseAll?: (all: boolean) => void;
  /** More rows are on the server; called when the end comes into view. */
  more?: () => void;
  /** What the rows are chosen by; another choice is shown from its beginning. */
  view?: string;
  /** A short list that stands among other things: drawn whole, without keys of its own. */
  isInline?: boolean;
}

const ROW = 36;
/** Below this many rows all are drawn. */
const FEW = 60;

export function Table<T>({ label, columns: all, rows, total, keyOf, nameOf, hrefOf, sort, onSort, chosen, onChoose: choose, onChooseAll, more, view, isInline }: Props<T>) {
  const isNarrow = useMedia("(max-width: 899px)");
  const isPhone = useMedia("(max-width: 699px)");
  const columns = isNarrow ? all.filter((column) => !column.isWide) : all;
  const onChoose = isPhone ? undefined : choose;
  const box = useRef<HTMLDivElement>(null);
  const [cursor, setCursor] = useState(-1);
  const wanted = useRef<number>(undefined);
  const isWhole = isInline === true || rows.length <= FEW;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 12,
    getItemKey: (index) => {
      const row = rows[index];
      return row === undefined ? index : keyOf(row);
    },
    enabled: !isWhole,
  });
  const drawn = virtual.getVirtualItems();
  const first = isWhole ? 0 : (drawn[0]?.index ?? 0);
  const last = isWhole ? rows.length - 1 : (drawn.at(-1)?.index ?? -1);
  const before = isWhole ? 0 : (drawn[0]?.start ?? 0);
  const after = isWhole ? 0 : virtual.getTotalSize() - (drawn.at(-1)?.end ?? 0);

  useEffect(() => {
    if (more && last >= rows.length - 10 && !isInline) more();
  }, [more, last, rows.length, isInline]);

  useEffect(() => {
    box.current?.scrollTo(0, 0);
    setCursor(-1);
  }, [sort, view]);

  // The row that the keys led to is focused as soon as it is drawn.
  useEffect(() => {
    if (wanted.current === undefined) return;
    const link = box.current?.querySelector<HTMLElement>(`[data-index="${wanted.current}"] .row-link`);
    if (!link) return;
    wanted.current = undefined;
    link.focus({ preventScroll: !isWhole });
  });

  useEffect(() => {
    if (isInline) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const step = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
      if (step) {
        const focused = (document.activeElement?.closest("[data-index]") as HTMLElement | null)?.dataset.index;
        const next = Math.min(rows.length - 1, Math.max(0, (focused === undefined ? cursor : Number(focused)) + step));
        if (next < 0) return;
        event.preventDefault();
        setCursor(next);
        wanted.current = next;
        if (!isWhole) virtual.scrollToIndex(next);
      } else if (event.key === "x" && onChoose) {
        const row = rows[cursor];
        if (row !== undefined) onChoose(keyOf(row));
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [rows, cursor, isInline, isWhole, virtual, onChoose, keyOf]);

  const isAll = rows.length > 0 && rows.every((row) => chosen?.has(keyOf(row)));
  // Many columns do not squeeze the one that takes what is left: then the table scrolls sideways.
  const fixed = columns.reduce((sum, column) => sum + (column.width?.endsWith("px") ? Number.parseInt(column.width) : 0), 0);
  const [sortKey, direction] = (sort ?? "").split(" ");
  const shown = rows.slice(first, last + 1);
  return (
    <div className={isInline ? "table-box" : "table-box fill"} ref={box} tabIndex={0} role="region" aria-label={label}>
      <table style={{ minWidth: fixed + (!isNarrow ? 320 : fixed > 270 ? 160 : 120) }} aria-rowcount={isWhole ? undefined : (total ?? rows.length) + 1}>
        <colgroup>
          {onChoose && <col style={{ width: 44 }} />}
          {columns.map((column) => (
            <col key={column.id} style={{ width: column.width }} />
          ))}
        </colgroup>
        <thead>
          <tr>
            {onChoose && <th scope="col" className="check">{onChooseAll ? <input type="checkbox" aria-label={t.table.chooseAll} checked={isAll} ref={(box) => { if (box) box.indeterminate = !isAll && (chosen?.size ?? 0) > 0; }} onChange={() => onChooseAll(!isAll)} /> : <span className="sr">{t.table.chosen}</span>}</th>}
            {columns.map((column) => {
              const key = column.sort;
              const isSorted = key !== undefined && key === sortKey;
              return (
                <th key={column.id} scope="col" className={column.className?.includes("value") ? "value" : undefined} aria-sort={isSorted ? (direction === "desc" ? "descending" : "ascending") : undefined}>
                  {key && onSort ? (
                    <button type="button" className="sort" onClick={() => onSort(`${key} ${isSorted && direction === "desc" ? "asc" : "desc"}`)}>
                      {column.name}
                      {isSorted && (direction === "desc" ? <ArrowDown size={11} aria-hidden /> : <ArrowUp size={11} aria-hidden />)}
                    </button>
                  ) : (
                    column.name
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {before > 0 && <tr aria-hidden className="spacer"><td colSpan={columns.length + 1} style={{ height: before }} /></tr>}
          {shown.map((row, offset) => {
            const index = first + offset;
            const key = keyOf(row);
            return (
              <tr key={key} data-index={index} aria-rowindex={isWhole ? undefined : index + 2} className={chosen?.has(key) ? "chosen" : undefined} onFocus={() => setCursor(index)}>
                {onChoose && (
                  <td className="check">
                    <input type="checkbox" aria-label={t.table.choose(nameOf(row))} checked={chosen?.has(key) ?? false} onChange={() => onChoose(key)} />
                  </td>
                )}
                {columns.map((column, at) => (
                  <td key={column.id} className={column.className}>
                    {at === 0 && hrefOf ? <a className="row-link" href={hrefOf(row)} title={nameOf(row)}>{column.cell(row)}</a> : column.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {after > 0 && <tr aria-hidden className="spacer"><td colSpan={columns.length + 1} style={{ height: after }} /></tr>}
        </tbody>
      </table>
    </div>
  );
}
