// The graph of a pipeline, with the states of a run where there is one. Boxes can be chosen by mouse and keyboard.
import { Background, type Edge, Handle, MarkerType, type Node, type NodeProps, Position, ReactFlow, ReactFlowProvider } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { useEffect, useMemo } from "react";
import { Lasting, StateChip, toneOf } from "../ui/parts";
import type { Step } from "./document";
import { type Arrow, place } from "./layout";
import type { StepState } from "./state";

interface Data extends Record<string, unknown> {
  step: Step;
  state: StepState | undefined;
  isChosen: boolean;
  isRun: boolean;
  isCritical: boolean;
}

type BoxNode = Node<Data>;

function StepBox({ data }: NodeProps<BoxNode>) {
  const { step, state, isChosen, isRun, isCritical } = data;
  const isGroup = step.children.length > 0;
  const several = (state?.tasks.length ?? 0) > 1 ? `${state?.done} of ${state?.tasks.length}` : undefined;
  return (
    <div className={`box ${isGroup ? "group" : ""} ${isChosen ? "chosen" : ""} ${isCritical ? "critical" : ""} ${isRun ? toneOf(state?.state) : ""}`}>
      <Handle type="target" position={Position.Top} isConnectable={false} />
      <div className="box-head">
        <b title={step.label}>
          {isGroup && <span className="kind">{step.kind === "loop" ? "for each" : step.kind === "condition" ? "only if" : "group"} </span>}
          {step.label}
        </b>
        {isRun && <StateChip state={state?.state}>{several ?? (state?.start !== undefined ? <Lasting start={state.start} end={state.end} /> : undefined)}</StateChip>}
      </div>
      {!isGroup && (
        <div className="box-foot">
          <code title={step.image}>{step.image ?? step.kind}</code>
        </div>
      )}
      <Handle type="source" position={Position.Bottom} isConnectable={false} />
    </div>
  );
}

const nodeTypes = { step: StepBox };

interface Props {
  steps: Step[];
  states?: Map<string, StepState>;
  /** Places on the critical path. */
  critical?: ReadonlySet<string>;
  chosen?: string;
  choose: (path: string) => void;
}

export function Graph({ steps, states, critical, chosen, choose }: Props) {
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
    data: { step: box.step, state: states?.get(box.step.path), isChosen: box.step.path === chosen, isRun: !!states, isCritical: critical?.has(box.step.path) ?? false },
    ariaLabel: `Step ${box.step.label}`,
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
        aria-label="Graph of steps"
      >
        <Background gap={20} size={1.4} color="var(--dot)" />
      </ReactFlow>
    </ReactFlowProvider>
  );
}
