// A log as it is written: follows the end while the reader is at the end, stays put otherwise, goes to a moment when told.
// Only the lines in view are drawn, so that long logs stay whole and quick.
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, Download, Search, WrapText } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { clock } from "../format";
import { t } from "../strings";
import { isTyping } from "./keys";

/** The time that the server puts before each line. */
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?/;
const LINE = 19;

/** The line without its time. */
export function plainLine(line: string): string {
  return line.replace(STAMP, "");
}

/** When the line was written. */
export function timeOf(line: string): number | undefined {
  const stamp = STAMP.exec(line)?.[1];
  return stamp === undefined ? undefined : Date.parse(stamp);
}

/** The first line written at that moment or later; the last one if all are earlier. */
export function lineAt(lines: string[], at: number): number {
  const index = lines.findIndex((line) => (timeOf(line) ?? -Infinity) >= at);
  return index < 0 ? lines.length - 1 : index;
}

interface Props {
  text: string;
  isLive: boolean;
  download: string;
  error?: string;
  /** A moment to show, milliseconds since 1970. */
  at?: number;
}

export function LogView({ text, isLive, download, error, at }: Props) {
  const [wrap, setWrap] = useState(true);
  const [find, setFind] = useState("");
  const [follow, setFollow] = useState(at === undefined);
  const box = useRef<HTMLDivElement>(null);
  const finder = useRef<HTMLInputElement>(null);
  const lines = useMemo(() => {
    const all = text.split("\n");
    if (all.at(-1) === "") all.pop();
    return all;
  }, [text]);
  const needle = find.toLowerCase();
  const shown = useMemo(() => {
    const numbered = lines.map((line, index) => ({ line, index }));
    return needle ? numbered.filter(({ line }) => plainLine(line).toLowerCase().includes(needle)) : numbered;
  }, [lines, needle]);
  const marked = useMemo(() => (at === undefined || lines.length === 0 ? undefined : lineAt(lines, at)), [lines, at]);
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => box.current,
    estimateSize: () => LINE,
    overscan: 20,
    getItemKey: (index) => shown[index]?.index ?? index,
  });
  // Lines that wrap are measured anew when they do or no longer do.
  useEffect(() => {
    virtual.measure();
  }, [virtual, wrap]);
  useEffect(() => {
    if (follow && shown.length > 0) virtual.scrollToIndex(shown.length - 1, { align: "end" });
  }, [virtual, shown.length, follow, wrap]);
  useEffect(() => {
    if (marked === undefined) return;
    setFollow(false);
    setFind("");
    virtual.scrollToIndex(marked, { align: "center" });
  }, [virtual, marked, at]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "/" || isTyping(event.target) || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      finder.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  const said = isLive ? (follow ? t.log.following : t.log.live) : t.log.count(lines.length);
  return (
    <section className="log" aria-label={t.log.title}>
      <div className="log-bar">
        <span className="mute clip">
          {said}
          {needle && t.log.found(shown.length)}
          {marked !== undefined && at !== undefined && !needle && t.log.at(clock(at))}
        </span>
        <label className="find">
          <Search size={13} aria-hidden />
          <span className="sr">{t.log.find}</span>
          <input ref={finder} type="search" placeholder={t.log.findHint} value={find} onChange={(event) => setFind(event.target.value)} />
        </label>
        <button type="button" className="icon" aria-pressed={wrap} aria-label={t.log.wrap} title={t.log.wrap} onClick={() => setWrap(!wrap)}>
          <WrapText size={14} aria-hidden />
        </button>
        <a className="icon" href={download} download="step.log" aria-label={t.log.download} title={t.log.download}>
          <Download size={14} aria-hidden />
        </a>
      </div>
      {error && (
        <p className="note failed-text" role="alert">
          {error}
        </p>
      )}
      <div
        className={wrap ? "lines wrap" : "lines"}
        ref={box}
        // A region that scrolls must be reachable by keyboard.
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={t.log.lines}
        onScroll={(event) => {
          const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
          setFollow(scrollHeight - scrollTop - clientHeight < 24);
        }}
      >
        {shown.length === 0 && <p className="note mute">{needle ? t.log.noMatch : isLive ? t.log.nothingYet : error ? "" : t.log.nothing}</p>}
        <div className="all-lines" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const entry = shown[item.index];
            return entry && <Line key={item.key} text={entry.line} number={entry.index + 1} isMarked={entry.index === marked} start={item.start} index={item.index} measure={virtual.measureElement} />;
          })}
        </div>
      </div>
      {isLive && !follow && (
        <button type="button" className="to-end" onClick={() => setFollow(true)}>
          <ArrowDown size={13} aria-hidden /> {t.log.toEnd}
        </button>
      )}
    </section>
  );
}

function Line({ text, number, isMarked, start, index, measure }: { text: string; number: number; isMarked: boolean; start: number; index: number; measure: (element: Element | null) => void }) {
  const at = timeOf(text);
  const body = plainLine(text);
  const isBad = /\b(error|exception|traceback|fatal)\b/i.test(body);
  return (
    <div ref={measure} data-index={index} className={`line ${isBad ? "bad" : ""} ${isMarked ? "marked" : ""}`} style={{ transform: `translateY(${start}px)` }}>
      <span className="gutter" title={at === undefined ? undefined : new Date(at).toISOString()} aria-hidden>
        {at === undefined ? number : clock(at)}
      </span>
      <span className="said">{body || " "}</span>
    </div>
  );
}
