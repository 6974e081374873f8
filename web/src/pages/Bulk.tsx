// What can be done to several rows of a list at once: one after the other is asked for, and what fails is said.
import { type ReactNode, useState } from "react";
import { t } from "../strings";
import { Button, Confirm, Problem } from "../ui/parts";

export interface Deed<T> {
  name: string;
  /** Rows that it is done to. */
  rows: T[];
  act: (row: T) => Promise<unknown>;
  /** The question before it, where something is lost. */
  asks?: { title: string; loses: ReactNode };
  /** What is said when it is done, and how it is undone. */
  undo?: { said: string; act: (row: T) => Promise<unknown> };
}

interface Props<T> {
  label: string;
  count: number;
  deeds: Deed<T>[];
  clear: () => void;
  /** Called when anything may have changed. */
  changed: () => Promise<unknown>;
}

/** Rows chosen by their keys, which stay chosen while they are loaded. */
export function useChosen(): { chosen: ReadonlySet<string>; choose: (key: string) => void; chooseAll: (keys: string[]) => void; clear: () => void } {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const choose = (key: string) =>
    setChosen((old) => {
      const next = new Set(old);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  return { chosen, choose, chooseAll: (keys) => setChosen(new Set(keys)), clear: () => setChosen(new Set()) };
}

export function Bulk<T>({ label, count, deeds, clear, changed }: Props<T>) {
  const [asked, setAsked] = useState<Deed<T>>();
  const [done, setDone] = useState<{ said: string; undo: () => void }>();
  const [failure, setFailure] = useState<unknown>();
  const each = async (rows: T[], act: (row: T) => Promise<unknown>) => {
    setFailure(undefined);
    const results = await Promise.allSettled(rows.map(act));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) setFailure(failed.reason);
    await changed();
    return !failed;
  };
  const run = async (deed: Deed<T>) => {
    setAsked(undefined);
    if (!(await each(deed.rows, deed.act))) return;
    clear();
    const undo = deed.undo;
    setDone(undo && { said: undo.said, undo: () => void each(deed.rows, undo.act).then(() => setDone(undefined)) });
  };
  if (count === 0 && !done && failure === undefined) return null;
  return (
    <div className="bulk" role="region" aria-label={label}>
      {count > 0 ? (
        <>
          <span>{t.runs.chosen(count)}</span>
          {deeds.map((deed) => deed.rows.length > 0 && <Button key={deed.name} onClick={() => (deed.asks ? setAsked(deed) : void run(deed))}>{deed.name}</Button>)}
          <Button kind="quiet" onClick={clear}>{t.act.chooseNone}</Button>
        </>
      ) : (
        done && (
          <>
            <span role="status">{done.said}</span>
            <Button onClick={done.undo}>{t.act.undo}</Button>
            <Button kind="quiet" onClick={() => setDone(undefined)}>{t.act.close}</Button>
          </>
        )
      )}
      {failure !== undefined && <Problem error={failure} doing={t.runs.atLeastOne} />}
      {asked?.asks && (
        <Confirm title={asked.asks.title} action={t.act.delete} run={() => void run(asked)} close={() => setAsked(undefined)}>
          {asked.asks.loses}
        </Confirm>
      )}
    </div>
  );
}
