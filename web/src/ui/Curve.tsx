// A small curve of the last minutes. Pure props; colours come from the theme.
import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

interface Props {
  /** Seconds since 1970, rising. */
  times: number[];
  values: number[];
  /** What the upper edge stands for. */
  max: number;
  /** Seconds the curve is wide, however few readings there are. */
  span: number;
  label: string;
}

const HEIGHT = 44;

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function Curve({ times, values, max, span, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const now = times.at(-1) ?? 0;
  const data = useMemo<uPlot.AlignedData>(() => [times, values], [times, values]);
  const scale = useRef({ now, span, max });
  scale.current = { now, span, max };
  useEffect(() => {
    const parent = box.current;
    if (!parent) return;
    const made = new uPlot(
      {
        width: Math.max(40, parent.clientWidth),
        height: HEIGHT,
        padding: [2, 0, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        axes: [{ show: false }, { show: false }],
        scales: {
          x: { time: false, range: () => [scale.current.now - scale.current.span, scale.current.now] },
          y: { range: () => [0, scale.current.max] },
        },
        series: [{}, { stroke: () => colour("--accent"), fill: () => colour("--accent-soft"), width: 1.4, points: { show: false } }],
      },
      [[], []],
      parent,
    );
    plot.current = made;
    const size = new ResizeObserver(() => made.setSize({ width: Math.max(40, parent.clientWidth), height: HEIGHT }));
    size.observe(parent);
    const theme = new MutationObserver(() => made.redraw(true));
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      size.disconnect();
      theme.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);
  return <div className="curve" ref={box} role="img" aria-label={label} />;
}
