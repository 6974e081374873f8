import { expect, test } from "vitest";
import { lineAt, plainLine, timeOf } from "./LogView";

const LINES = ["2026-03-10T12:00:01.000000000Z one", "2026-03-10T12:00:03.5Z two", "no time here", "2026-03-10T12:00:09Z 2026 is the year"];

test("the server's time is told from what the program wrote", () => {
  expect(LINES.map(plainLine)).toEqual(["one", "two", "no time here", "2026 is the year"]);
  expect(timeOf("no time here")).toBeUndefined();
});

test("a moment leads to the first line that is not earlier", () => {
  expect(lineAt(LINES, Date.parse("2026-03-10T12:00:02Z"))).toBe(1);
  expect(lineAt(LINES, Date.parse("2026-03-10T12:00:04Z"))).toBe(3);
  expect(lineAt(LINES, Date.parse("2026-03-10T13:00:00Z"))).toBe(3);
});
