import { expect, test } from "vitest";
import { choose, t, type Catalogue } from ".";
import { en } from "./en";
import { counter } from "./plural";

test("a language counts as it does", () => {
  const english = counter("en");
  expect([0, 1, 2, 1204].map((count) => english(count, { one: "# run", other: "# runs" }))).toEqual(["0 runs", "1 run", "2 runs", "1,204 runs"]);
  const polish = counter("pl");
  expect([1, 3, 5].map((count) => polish(count, { one: "# krok", few: "# kroki", other: "# kroków" }))).toEqual(["1 krok", "3 kroki", "5 kroków"]);
  const chinese = counter("zh");
  expect(chinese(2, { other: "# 个" })).toBe("2 个");
});

test("a reader gets the first language that there is, with or without its country, else English", () => {
  const other: Catalogue = { ...en, language: "zh" };
  const all = { en, zh: other };
  expect(choose(["zh-CN", "en"], all).language).toBe("zh");
  expect(choose(["fr", "en-US"], all).language).toBe("en");
  expect(choose(["fr"], all)).toBe(en);
  expect(t.language).toBe("en");
});
