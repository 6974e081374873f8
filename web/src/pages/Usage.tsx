// What a step uses while it runs: processor and memory, as two small curves.
import { lazy, Suspense, useMemo } from "react";
import type { Usage as Reading } from "../api/model";
import { useUsage } from "../api/watch";
import { bytes, cores } from "../format";
import { t } from "../strings";

const Curve = lazy(async () => ({ default: (await import("../ui/Curve")).Curve }));

/** Seconds that the curves are wide at least. */
const SPAN = 30;

interface Props {
  namespace: string;
  pod: string | undefined;
  isLive: boolean;
  /** The machine has less than the pod's limits say, so that these say nothing. */
  isClamped?: boolean;
}

export function Usage({ namespace, pod, isLive, isClamped }: Props) {
  const { readings, error } = useUsage(namespace, pod, isLive);
  if (error) return <p className="note mute usage-note">{t.step.usageUnread(error)}</p>;
  const last = readings.at(-1);
  if (!last) return isLive && pod ? <p className="note mute usage-note">{t.step.cpu} · {t.step.memory}: {t.step.usageWaits}</p> : null;
  const used = readings.filter((one) => one.cores !== null);
  const most = (of: (one: Reading) => number | null | undefined) => Math.max(...readings.map((one) => of(one) ?? 0));
  const now = last.cores ?? undefined;
  const memoryLimit = isClamped ? null : last.memory_limit_bytes;
  return (
    <section className="usage" aria-label={t.step.usage}>
      <Figure name={t.step.cpu} text={now === undefined ? t.step.usageWaits : last.cores_limit ? t.amount.of(now.toFixed(1), cores(last.cores_limit)) : cores(now)} readings={used} value={(one) => one.cores ?? 0} max={Math.max(last.cores_limit ?? 0, most((one) => one.cores) * 1.1, 0.1)} />
      <Figure name={t.step.memory} text={memoryLimit ? t.amount.of(bytes(last.memory_bytes), bytes(memoryLimit)) : bytes(last.memory_bytes)} readings={readings} value={(one) => one.memory_bytes} max={most((one) => one.memory_bytes) * 1.15} />
    </section>
  );
}

function Figure({ name, text, readings, value, max }: { name: string; text: string; readings: Reading[]; value: (one: Reading) => number; max: number }) {
  const times = useMemo(() => readings.map((one) => one.at_ms / 1000), [readings]);
  const span = Math.max(SPAN, (times.at(-1) ?? 0) - (times[0] ?? 0));
  return (
    <div className="figure">
      <span>{name}</span>
      <span className="mute num">{text}</span>
      <Suspense fallback={<div className="curve" />}>
        <Curve times={times} values={readings.map(value)} max={max} span={span} label={t.step.usageCurve(name, text)} />
      </Suspense>
    </div>
  );
}
