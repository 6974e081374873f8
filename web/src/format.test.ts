import { expect, test } from "vitest";
import { ago, bytes, cause, duration } from "./format";
import { parse } from "./router";

test("durations keep one form each", () => {
  expect([0, 840, 4123, 31_000, 125_000, 11_520_000, 180_000_000].map(duration)).toEqual(["< 1 s", "< 1 s", "4 s", "31 s", "2 m 05 s", "3 h 12 m", "2 d 2 h"]);
});

test("times past are told in words", () => {
  expect([1_000, 38_000, 120_000, 7_200_000].map((ms) => ago(0, ms))).toEqual(["just now", "38 s ago", "2 min ago", "2 h ago"]);
});

test("bytes are told in powers of ten", () => {
  expect([512, 4100, 41_000_000].map(bytes)).toEqual(["512 B", "4.1 kB", "41 MB"]);
});

test("links that Kubeflow's clients print are read", () => {
  expect(parse("#/runs/details/a%20b?step=train").path).toEqual(["runs", "details", "a b"]);
  expect(parse("#/runs/details/x?step=train").query.get("step")).toBe("train");
  expect(parse("").path).toEqual([]);
});

test("a cause is told without the lines of a stack trace", () => {
  expect(cause("exited with code 1; last lines: ^^^ File \"x.py\", line 4 TypeError: n is missing")).toBe("Exited with code 1: TypeError: n is missing");
  expect(cause("step fit failed: exited with code 1; last lines:\n  epoch 7\n  Traceback (most recent call last):\n  ValueError: it diverges")).toBe("Step fit failed: exited with code 1: ValueError: it diverges");
  expect(cause("the image is missing")).toBe("The image is missing");
});
