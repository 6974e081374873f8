// Places a tree of steps: each graph is laid out by itself, then takes its size as one box in the graph around it.
import dagre from "@dagrejs/dagre";
import type { Step } from "./document";

export interface Box {
  step: Step;
  parent?: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Arrow {
  from: string;
  to: string;
  passes: string[];
}

export interface Placed {
  boxes: Box[];
  arrows: Arrow[];
  width: number;
  height: number;
}

const STEP = { width: 230, height: 62 };
const HEAD = 34;
const PADDING = 16;

/** Boxes relative to their parents, parents first. */
export function place(steps: Step[], parent?: string): Placed {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 36, ranksep: 58, marginx: 0, marginy: 0 });
  graph.setDefaultEdgeLabel(() => ({}));
  const inner = new Map<string, Placed>();
  for (const step of steps) {
    let size = STEP;
    if (step.children.length > 0) {
      const placed = place(step.children, step.path);
      inner.set(step.path, placed);
      size = { width: Math.max(STEP.width, placed.width + 2 * PADDING), height: placed.height + HEAD + PADDING };
    }
    graph.setNode(step.path, { ...size });
  }
  const byKey = new Map(steps.map((step) => [step.key, step.path]));
  const arrows: Arrow[] = [];
  for (const step of steps) {
    for (const { key, passes } of step.after) {
      const from = byKey.get(key);
      if (!from) continue;
      arrows.push({ from, to: step.path, passes });
      graph.setEdge(from, step.path);
    }
  }
  dagre.layout(graph);
  const boxes: Box[] = [];
  for (const step of steps) {
    const { x, y, width, height } = graph.node(step.path);
    const box: Box = { step, parent, x: x - width / 2, y: y - height / 2, width, height };
    if (parent) {
      box.x += PADDING;
      box.y += HEAD;
    }
    boxes.push(box);
    const placed = inner.get(step.path);
    if (placed) {
      // A box that is wider than what is in it keeps that in the middle.
      const shift = Math.max(0, (width - 2 * PADDING - placed.width) / 2);
      boxes.push(...placed.boxes.map((child) => (child.parent === step.path ? { ...child, x: child.x + shift } : child)));
      arrows.push(...placed.arrows);
    }
  }
  const { width = 0, height = 0 } = graph.graph();
  return { boxes, arrows, width: Number.isFinite(width) ? width : 0, height: Number.isFinite(height) ? height : 0 };
}
