// A step's log as it is written: follows the end while the reader is at the end, stays put otherwise.
import { ArrowDown, Download, Search, WrapText } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";

/** Lines kept in view; more would make the page slow, and the file has them all. */
const LIMIT = 5000;

// Time stamps that a container's log may have before each line.
const STAMP = /^(\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\S*)\s/;

export function LogView({ text, isLive, download, error }: { text: string; isLive: boolean; download: string; error?: string }) {
  const [wrap, setWrap] = useState(true);
  const [find, setFind] = useState("");
  const [follow, setFollow] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => {
    const all = text.split("\n");
    if (all.at(-1) === "") all.pop();
    return all;
  }, [text]);
  const needle = find.toLowerCase();
  const shown = useMemo(() => {
    const numbered = lines.map((line, index) => ({ line, index }));
    return (needle ? numbered.filter(({ line }) => line.toLowerCase().includes(needle)) : numbered).slice(-LIMIT);
  }, [lines, needle]);

  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, follow]);

  return (
    <section className="log" aria-label="Log">
      <div className="log-bar">
        <span className="mute">
          {isLive ? (follow ? "following" : "live") : `${lines.length} lines`}
          {needle && ` · ${shown.length} found`}
        </span>
        <label className="find">
          <Search size={13} aria-hidden />
          <span className="sr">Find in the log</span>
          <input type="search" placeholder="find" value={find} onChange={(event) => setFind(event.target.value)} />
        </label>
        <button type="button" className="icon" aria-pressed={wrap} aria-label="Wrap long lines" title="Wrap long lines" onClick={() => setWrap(!wrap)}>
          <WrapText size={14} aria-hidden />
        </button>
        <a className="icon" href={download} download="step.log" aria-label="Download the log" title="Download the log">
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
        aria-label="Lines of the log"
        onScroll={(event) => {
          const at = event.currentTarget;
          setFollow(at.scrollHeight - at.scrollTop - at.clientHeight < 24);
        }}
      >
        {lines.length > LIMIT && !needle && <p className="note mute">The last {LIMIT} of {lines.length} lines; download has all.</p>}
        {shown.length === 0 && <p className="note mute">{needle ? "No line has this." : isLive ? "Nothing written yet." : "This step wrote nothing."}</p>}
        {shown.map(({ line, index }) => (
          <Line key={index} text={line} number={index + 1} />
        ))}
      </div>
      {isLive && !follow && (
        <button type="button" className="to-end" onClick={() => setFollow(true)}>
          <ArrowDown size={13} aria-hidden /> to the end
        </button>
      )}
    </section>
  );
}

function Line({ text, number }: { text: string; number: number }) {
  const stamp = STAMP.exec(text);
  const body = stamp ? text.slice(stamp[0].length) : text;
  const isBad = /\b(error|exception|traceback|fatal)\b/i.test(body);
  return (
    <div className={isBad ? "line bad" : "line"}>
      <span className="gutter" title={stamp?.[1]} aria-hidden>
        {stamp ? stamp[2] : number}
      </span>
      <span className="said">{body || " "}</span>
    </div>
  );
}
