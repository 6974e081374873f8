// The graph of a pipeline, with the states of a run where there is one. Boxes can be chosen by mouse and keyboard.
import { Background, type Edge, Handle, MarkerType, type Node, type NodeProps, Position, ReactFlow, ReactFlowProvider } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { useEffect, useMemo } from "react";
import { duration } from "../format";
import { t } from "../strings";
import { Lasting, StateChip, toneOf, useNow } from "../ui/parts";
import type { Step } from "./document";
import { type Arrow, place } from "./layout";
import type { StepState } from "./state";

interface Data extends Record<string, unknown> {
  step: Step;
  state: StepState | undefined;
  isChosen: boolean;
  isRun: boolean;
  isCritical: boolean;
  /** Names of the steps that it waits for. */
  waits: string[];
  /** How long it took the last time, milliseconds. */
  took: number | undefined;
}

type BoxNode = Node<Data>;

function StepBox({ data }: NodeProps<BoxNode>) {
  const { step, state, isChosen, isRun, isCritical, waits, took } = data;
  const isGroup = step.children.length > 0;
  const several = (state?.tasks.length ?? 0) > 1 ? t.graph.done(state?.done ?? 0, state?.tasks.length ?? 0) : undefined;
  const isAhead = isRun && state?.start === undefined && (state?.state === undefined || state.state === "PENDING");
  const isLive = !isGroup && several === undefined && state?.state === "RUNNING";
  return (
    <div className={`box ${isGroup ? "group" : ""} ${isChosen ? "chosen" : ""} ${isCritical ? "critical" : ""} ${isRun ? toneOf(state?.state) : ""}`}>
      <Handle type="target" position={Position.Top} isConnectable={false} />
      <div className="box-head">
        <b title={step.label}>
          {isGroup && <span className="kind">{t.graph.kinds[step.kind]} </span>}
          {step.label}
        </b>
        {isRun && <StateChip state={state?.state}>{several ?? (state?.start !== undefined ? <Lasting start={state.start} end={state.end} /> : waits.length > 0 ? <span className="clip">{t.graph.waitsFor(waits)}</span> : undefined)}</StateChip>}
      </div>
      {!isGroup && (
        <div className="box-foot">
          <code title={step.image}>{step.image ?? t.graph.kinds[step.kind]}</code>
          {isAhead && took !== undefined && <span className="mute num">{t.graph.lastTime(duration(took))}</span>}
        </div>
      )}
      {isLive && took !== undefined && state?.start !== undefined && <Progress name={step.label} start={state.start} took={took} />}
      <Handle type="source" position={Position.Bottom} isConnectable={false} />
    </div>
  );
}

/** How far a running step is if it takes as long as the last time; an estimate, and drawn as one. */
function Progress({ name, start, took }: { name: string; start: number; took: number }) {
  const now = useNow(true);
  const share = Math.round(Math.min(1, Math.max(0, (now - start) / took)) * 100);
  return <span className="progress" role="meter" aria-label={t.graph.progress(name)} aria-valuemin={0} aria-valuemax={100} aria-valuenow={share}><i style={{ width: `${share}%` }} /></span>;
}

const nodeTypes = { step: StepBox };

interface Props {
  steps: Step[];
  states?: Map<string, StepState>;
  /** Places on the critical path. */
  critical?: ReadonlySet<string>;
  /** Names of the steps that a place waits for, while it waits. */
  waits?: ReadonlyMap<string, string[]>;
  /** How long each place took the last time. */
  took?: ReadonlyMap<string, number>;
  chosen?: string;
  choose: (path: string) => void;
}

export function Graph({ steps, states, critical, waits, took, chosen, choose }: Props) {
  const placed = useMemo(() => place(steps), [steps]);
  const nodes: BoxNode[] = placed.boxes.map((box) => ({
    id: box.step.path,
    type: "step",
    parentId: box.parent,
    position: { x: box.x, y: box.y },
    width: box.width,
    height: box.height,
    draggable: false,
    connectable: false,
    data: { step: box.step, state: states?.get(box.step.path), isChosen: box.step.path === chosen, isRun: !!states, isCritical: critical?.has(box.step.path) ?? false, waits: waits?.get(box.step.path) ?? [], took: took?.get(box.step.path) },
    ariaLabel: t.graph.step(box.step.label),
  }));
  const look = (arrow: Arrow) => {
    const isCritical = (critical?.has(arrow.from) && critical.has(arrow.to)) ?? false;
    return {
      className: `edge ${isCritical ? "critical" : ""} ${states && !states.get(arrow.to)?.start ? "ahead" : ""}`,
      markerEnd: { type: MarkerType.ArrowClosed, width: 14, height: 14, color: isCritical ? "var(--critical)" : "var(--line-strong)" },
    };
  };
  const edges: Edge[] = placed.arrows.map((arrow) => ({
    id: `${arrow.from}>${arrow.to}`,
    source: arrow.from,
    target: arrow.to,
    label: arrow.passes.join(", ") || undefined,
    focusable: false,
    selectable: false,
    zIndex: 1,
    ...look(arrow),
  }));
  // Selection by keyboard arrives as a click would.
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const box = (event.target as HTMLElement).closest<HTMLElement>(".react-flow__node");
      if (box?.dataset.id && (event.key === "Enter" || event.key === " ")) choose(box.dataset.id);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [choose]);
  return (
    <ReactFlowProvider>
      <ReactFlow
        key={steps.map((step) => step.path).join()}
        nodes={nodes}
        edges={edges}
        nodeTypes={nodeTypes}
        onNodeClick={(_, node) => choose(node.id)}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        fitView
        fitViewOptions={{ padding: 0.12, maxZoom: 1 }}
        minZoom={0.15}
        proOptions={{ hideAttribution: true }}
        aria-label={t.run.graphOf}
      >
        <Background gap={20} size={1.4} color="var(--dot)" />
      </ReactFlow>
    </ReactFlowProvider>
  );
}
