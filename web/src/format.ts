// Times, sizes and values as the whole console writes them.
import { t } from "./strings";

/** A length of time: < 1 s, 41 s, 2 m 05 s, 3 h 12 m, 4 d 2 h. The wire knows whole seconds, so no more is shown. */
export function duration(ms: number): string {
  if (ms < 1000) return t.time.lessThanSecond;
  const seconds = ms / 1000;
  if (seconds < 60) return t.time.seconds(String(Math.floor(seconds)));
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return t.time.minutes(String(minutes), String(Math.floor(seconds % 60)).padStart(2, "0"));
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t.time.hours(String(hours), String(minutes % 60).padStart(2, "0"));
  return t.time.days(String(Math.floor(hours / 24)), String(hours % 24));
}

/** How long ago, in words. */
export function ago(at: number, now: number): string {
  const seconds = Math.max(0, Math.floor((now - at) / 1000));
  if (seconds < 5) return t.time.justNow;
  if (seconds < 60) return t.time.secondsAgo(String(seconds));
  if (seconds < 3600) return t.time.minutesAgo(String(Math.floor(seconds / 60)));
  if (seconds < 48 * 3600) return t.time.hoursAgo(String(Math.floor(seconds / 3600)));
  return t.time.daysAgo(Math.floor(seconds / 86400));
}

/** The hour of the day, with seconds. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString(t.locale);
}

/** Date and hour, for hovers. */
export function absolute(at: number): string {
  return new Date(at).toLocaleString(t.locale, { dateStyle: "medium", timeStyle: "medium" });
}

/** Bytes: 512 B, 41 MB, 23.5 GB. */
export function bytes(count: number): string {
  const units = t.amount.bytes;
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Processors in use: 0.3 cores, 1.9 cores. */
export function cores(count: number): string {
  return t.amount.cores(count.toFixed(1));
}

/** A value in a narrow column: numbers with as many digits as tell something. */
export function short(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(5)));
  return value === undefined || value === null ? "" : plain(value);
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
