// Times, sizes and values as the whole console writes them.

/** A length of time: < 1 s, 41 s, 2 m 05 s, 3 h 12 m, 4 d 2 h. The wire knows whole seconds, so no more is shown. */
export function duration(ms: number): string {
  if (ms < 0) ms = 0;
  if (ms < 1000) return "< 1 s";
  const seconds = ms / 1000;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago, in words. */
export function ago(at: number, now: number): string {
  const seconds = Math.max(0, Math.floor((now - at) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** The hour of the day, with seconds. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString("en-GB");
}

/** Date and hour, for hovers. */
export function absolute(at: number): string {
  return new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** Bytes: 512 B, 41 MB, 23.5 GB. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A parameter's value on one line. */
export function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The first letter large. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A failure's cause without the log lines that follow it: those are shown as evidence. */
export function cause(message: string): string {
  const [first = "", tail = ""] = message.split(/;? last lines:\s/, 2);
  const exception = /(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b: .*)$/s.exec(tail)?.[1];
  return sentence(exception ? `${first}: ${exception.trim()}` : first);
}
