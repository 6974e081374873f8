// The text of a log, read as a stream.
import { useEffect, useState } from "react";
import { send } from "./client";

export interface Log {
  text: string;
  isReading: boolean;
  error?: string;
}

/** Reads what is at `address`, to the end. `phase` changes when it is worth asking anew: a pod came, or the step ended. */
export function useLog(address: string | undefined, phase: string): Log {
  const [log, setLog] = useState<Log>({ text: "", isReading: !!address });
  useEffect(() => {
    if (!address) return;
    const abort = new AbortController();
    let text = "";
    let frame = 0;
    const show = () => {
      frame = 0;
      setLog({ text, isReading: true });
    };
    const read = async () => {
      const response = await send(address, { signal: abort.signal });
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const next = await reader?.read();
        if (!next || next.done) break;
        text += next.value;
        frame ||= requestAnimationFrame(show);
      }
      cancelAnimationFrame(frame);
      setLog({ text, isReading: false });
    };
    read().catch((error: unknown) => {
      cancelAnimationFrame(frame);
      if (!abort.signal.aborted) setLog({ text, isReading: false, error: error instanceof Error ? error.message : String(error) });
    });
    return () => {
      abort.abort();
      cancelAnimationFrame(frame);
    };
  }, [address, phase]);
  return log;
}
