import { expect, test } from "vitest";
import { readViews, viewOf } from "./views";

test("a view is filter, order and columns, in one order, and nothing else of the address", () => {
  expect(viewOf(new URLSearchParams("columns=name,param.lr&step=x&filter=state:failed&ns=a"))).toBe("filter=state%3Afailed&columns=name%2Cparam.lr");
  expect(viewOf(new URLSearchParams("ns=a"))).toBe("");
});

test("what is no view in the browser's memory is left out", () => {
  expect(readViews(null)).toEqual({});
  expect(readViews("not JSON")).toEqual({});
  expect(readViews('{"runs":[{"name":"a","query":"b"},{"name":1}],"pods":3}')).toEqual({ runs: [{ name: "a", query: "b" }], pods: [] });
});
