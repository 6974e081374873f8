import { expect, test } from "vitest";
import { Live, type Message } from "./live";
import { withoutRun, withRun } from "./queries";

class FakeSource {
  static made: FakeSource[] = [];
  onmessage: ((event: { data: string }) => void) | undefined;
  isClosed = false;
  constructor(readonly url: string) {
    FakeSource.made.push(this);
  }
  close() {
    this.isClosed = true;
  }
}

test("views that appear together share one stream, and each hears its own topic", async () => {
  FakeSource.made = [];
  const live = new Live((url) => new FakeSource(url) as unknown as EventSource);
  const heard: Message[] = [];
  live.follow("runs", () => undefined);
  const leave = live.follow("run/1", (message) => heard.push(message));
  await Promise.resolve();
  expect(FakeSource.made.map((source) => source.url)).toEqual(["/api/events?topic=run%2F1&topic=runs"]);
  FakeSource.made[0]?.onmessage?.({ data: '{"topic":"runs","type":"run"}' });
  FakeSource.made[0]?.onmessage?.({ data: '{"topic":"run/1","type":"run"}' });
  expect(heard).toEqual([{ topic: "run/1", type: "run" }]);
  leave();
  await Promise.resolve();
  expect(FakeSource.made[0]?.isClosed).toBe(true);
  expect(FakeSource.made[1]?.url).toBe("/api/events?topic=runs");
});

test("a list takes changed runs in place, new ones first, and drops deleted ones", () => {
  const pages = { pages: [{ runs: [{ run_id: "a" }, { run_id: "b" }], total_size: 2 }], pageParams: [""] };
  expect(withRun(pages, { run_id: "b", state: "FAILED" }).pages[0]?.runs?.[1]).toEqual({ run_id: "b", state: "FAILED" });
  const more = withRun(pages, { run_id: "c" });
  expect(more.pages[0]?.runs?.map((run) => run.run_id)).toEqual(["c", "a", "b"]);
  expect(more.pages[0]?.total_size).toBe(3);
  expect(withoutRun(more, "a").pages[0]?.runs?.map((run) => run.run_id)).toEqual(["c", "b"]);
});
