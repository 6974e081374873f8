// A pipeline document (IR) as a tree of steps: what depends on what, and what is inside what.
import type { PipelineSpec } from "../api/model";
import { t } from "../strings";

export interface Step {
  /** Key in its graph. */
  key: string;
  /** Where it is: `root.a.b`, as tasks of a run name it. */
  path: string;
  label: string;
  kind: "step" | "group" | "loop" | "condition" | "importer";
  image?: string;
  command?: string[];
  /** Whether an earlier result may stand in for it. */
  isCached: boolean;
  /** Key of what runs it. */
  executor?: string;
  /** Condition, in the document's words. */
  condition?: string;
  /** Keys of its own graph that come before it, each with what is passed. */
  after: { key: string; passes: string[] }[];
  children: Step[];
}

export interface Parameter {
  name: string;
  type: string;
  description?: string;
  isOptional: boolean;
  defaultValue?: unknown;
  literals?: unknown[];
}

export type Ir = PipelineSpec;
type IrComponent = NonNullable<Ir["root"]>;
type IrTask = NonNullable<NonNullable<IrComponent["dag"]>["tasks"]>[string];

/** The document itself; with a platform document beside it, it lies one level deeper. */
export function document(spec: unknown): Ir | undefined {
  if (!spec || typeof spec !== "object") return undefined;
  const outer = spec as { pipeline_spec?: Ir };
  const ir = outer.pipeline_spec ?? (spec as Ir);
  return ir.root ? ir : undefined;
}

/** The steps of the document's outermost graph, with what is in them. */
export function steps(ir: Ir): Step[] {
  return stepsOf(ir, ir.root, "root", new Set());
}

function stepsOf(ir: Ir, component: IrComponent | undefined, path: string, seen: Set<string>): Step[] {
  return Object.entries(component?.dag?.tasks ?? {}).map(([key, task]) => {
    const name = task.componentRef?.name ?? "";
    const inner = ir.components?.[name];
    const executor = ir.deploymentSpec?.executors?.[inner?.executorLabel ?? ""];
    const own = `${path}.${key}`;
    const condition = task.triggerPolicy?.condition;
    const isLoop = !!(task.parameterIterator ?? task.artifactIterator);
    return {
      key,
      path: own,
      label: task.taskInfo?.name ?? key,
      kind: isLoop ? "loop" : inner?.dag ? (condition ? "condition" : "group") : executor?.importer ? "importer" : "step",
      image: executor?.container?.image,
      command: executor?.container ? [...(executor.container.command ?? []), ...(executor.container.args ?? [])] : undefined,
      isCached: task.cachingOptions?.enableCache ?? false,
      executor: executor ? inner?.executorLabel : undefined,
      condition,
      after: dependencies(task),
      // A document that contains itself would never end.
      children: inner?.dag && !seen.has(name) ? stepsOf(ir, inner, own, new Set([...seen, name])) : [],
    };
  });
}

function dependencies(task: IrTask): { key: string; passes: string[] }[] {
  const found = new Map<string, Set<string>>();
  const add = (key: string | undefined, passes?: string) => {
    if (!key) return;
    const set = found.get(key) ?? new Set();
    if (passes) set.add(passes);
    found.set(key, set);
  };
  for (const key of task.dependentTasks ?? []) add(key);
  for (const { taskOutputParameter: from } of Object.values(task.inputs?.parameters ?? {})) add(from?.producerTask, from?.outputParameterKey);
  for (const { taskOutputArtifact: from } of Object.values(task.inputs?.artifacts ?? {})) add(from?.producerTask, from?.outputArtifactKey);
  return [...found].map(([key, passes]) => ({ key, passes: [...passes] }));
}

/** The parameters that a run may give, in the document's order. */
export function parameters(ir: Ir): Parameter[] {
  return Object.entries(ir.root?.inputDefinitions?.parameters ?? {}).map(([name, definition]) => ({
    name,
    type: typeof definition.parameterType === "string" ? definition.parameterType : "STRING",
    description: definition.description,
    isOptional: definition.isOptional ?? definition.defaultValue !== undefined,
    defaultValue: definition.defaultValue,
    literals: definition.literals,
  }));
}

/** Reads what a person typed as a parameter's value; throws the reason in words. */
export function readValue(parameter: Parameter, text: string): unknown {
  switch (parameter.type) {
    case "STRING":
      return text;
    case "NUMBER_INTEGER": {
      if (!/^[+-]?\d+$/.test(text.trim())) throw new Error(t.newRun.wholeNumber(parameter.name));
      return Number(text);
    }
    case "NUMBER_DOUBLE": {
      if (text.trim() === "" || Number.isNaN(Number(text))) throw new Error(t.newRun.number(parameter.name));
      return Number(text);
    }
    case "BOOLEAN":
      return text === "true";
    default: {
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        throw new Error(t.newRun.json(parameter.name));
      }
      if (parameter.type === "LIST" && !Array.isArray(value)) throw new Error(t.newRun.jsonList(parameter.name));
      if (parameter.type === "STRUCT" && (typeof value !== "object" || value === null || Array.isArray(value)))
        throw new Error(t.newRun.jsonObject(parameter.name));
      return value;
    }
  }
}

/** A parameter's type in words. */
export function typeWord(type: string): string {
  return t.newRun.types[type] ?? type.toLowerCase();
}

/** Every step, outer before inner. */
export function flatten(list: Step[]): Step[] {
  return list.flatMap((step) => [step, ...flatten(step.children)]);
}

/** Memory as Kubernetes writes it. */
const QUANTITY = /^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$/;

/** The same document with another memory limit for one executor; undefined where there is no such, or the limit is none. */
export function withMemory(ir: Ir, executor: string, memory: string): Ir | undefined {
  const found = ir.deploymentSpec?.executors?.[executor];
  if (!found?.container || !QUANTITY.test(memory)) return undefined;
  // The older, rounder field must not say something else.
  const resources = { ...found.container.resources, memoryLimit: undefined, memoryRequest: undefined, resourceMemoryLimit: memory };
  const raised = { ...found, container: { ...found.container, resources } };
  return { ...ir, deploymentSpec: { ...ir.deploymentSpec, executors: { ...ir.deploymentSpec?.executors, [executor]: raised } } };
}

/** The memory limit of an executor, as the document says it. */
export function memoryOf(ir: Ir, executor: string): string | undefined {
  const resources = ir.deploymentSpec?.executors?.[executor]?.container?.resources;
  if (resources?.resourceMemoryLimit) return resources.resourceMemoryLimit;
  return resources?.memoryLimit ? `${Number(resources.memoryLimit)}G` : undefined;
}
