// A pipeline document (IR) as a tree of steps: what depends on what, and what is inside what.

export interface Step {
  /** Key in its graph. */
  key: string;
  /** Where it is: `root.a.b`, as tasks of a run name it. */
  path: string;
  label: string;
  kind: "step" | "group" | "loop" | "condition" | "importer";
  image?: string;
  command?: string[];
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

interface Reference {
  componentInputParameter?: string;
  taskOutputParameter?: { producerTask?: string; outputParameterKey?: string };
  taskOutputArtifact?: { producerTask?: string; outputArtifactKey?: string };
}

interface IrTask {
  taskInfo?: { name?: string };
  componentRef?: { name?: string };
  dependentTasks?: string[];
  inputs?: { parameters?: Record<string, Reference>; artifacts?: Record<string, Reference> };
  triggerPolicy?: { condition?: string };
  parameterIterator?: unknown;
  artifactIterator?: unknown;
}

interface IrComponent {
  dag?: { tasks?: Record<string, IrTask> };
  executorLabel?: string;
  inputDefinitions?: {
    parameters?: Record<string, { parameterType?: string; description?: string; isOptional?: boolean; defaultValue?: unknown; literals?: unknown[] }>;
  };
}

interface IrExecutor {
  container?: { image?: string; command?: string[]; args?: string[] };
  importer?: unknown;
}

export interface Ir {
  pipelineInfo?: { name?: string; description?: string };
  root?: IrComponent;
  components?: Record<string, IrComponent>;
  deploymentSpec?: { executors?: Record<string, IrExecutor> };
}

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
  for (const reference of [...Object.values(task.inputs?.parameters ?? {}), ...Object.values(task.inputs?.artifacts ?? {})]) {
    add(reference.taskOutputParameter?.producerTask, reference.taskOutputParameter?.outputParameterKey);
    add(reference.taskOutputArtifact?.producerTask, reference.taskOutputArtifact?.outputArtifactKey);
  }
  return [...found].map(([key, passes]) => ({ key, passes: [...passes] }));
}

/** The parameters that a run may give, in the document's order. */
export function parameters(ir: Ir): Parameter[] {
  return Object.entries(ir.root?.inputDefinitions?.parameters ?? {}).map(([name, definition]) => ({
    name,
    type: definition.parameterType ?? "STRING",
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
      if (!/^[+-]?\d+$/.test(text.trim())) throw new Error(`${parameter.name} takes a whole number`);
      return Number(text);
    }
    case "NUMBER_DOUBLE": {
      if (text.trim() === "" || Number.isNaN(Number(text))) throw new Error(`${parameter.name} takes a number`);
      return Number(text);
    }
    case "BOOLEAN":
      return text === "true";
    default: {
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        throw new Error(`${parameter.name} takes JSON`);
      }
      if (parameter.type === "LIST" && !Array.isArray(value)) throw new Error(`${parameter.name} takes a JSON list, as in [1, 2]`);
      if (parameter.type === "STRUCT" && (typeof value !== "object" || value === null || Array.isArray(value)))
        throw new Error(`${parameter.name} takes a JSON object, as in {"a": 1}`);
      return value;
    }
  }
}

/** A parameter's type in words. */
export function typeWord(type: string): string {
  const words: Record<string, string> = {
    STRING: "text",
    NUMBER_INTEGER: "whole number",
    NUMBER_DOUBLE: "number",
    BOOLEAN: "yes or no",
    LIST: "JSON list",
    STRUCT: "JSON object",
  };
  return words[type] ?? type.toLowerCase();
}

/** Every step, outer before inner. */
export function flatten(list: Step[]): Step[] {
  return list.flatMap((step) => [step, ...flatten(step.children)]);
}
