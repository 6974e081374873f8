import { describe, expect, test } from "vitest";
import { document, flatten, type Ir, memoryOf, parameters, readValue, steps, withMemory } from "./document";
import { place } from "./layout";

const IR: Ir = {
  root: {
    inputDefinitions: { parameters: { epochs: { parameterType: "NUMBER_INTEGER", defaultValue: 3 }, data: { parameterType: "STRING" } } },
    dag: {
      tasks: {
        prepare: { taskInfo: { name: "prepare" }, componentRef: { name: "comp-prepare" } },
        loop: {
          taskInfo: { name: "each" },
          componentRef: { name: "comp-loop" },
          parameterIterator: {},
          inputs: { parameters: { items: { taskOutputParameter: { producerTask: "prepare", outputParameterKey: "list" } } } },
        },
      },
    },
  },
  components: {
    "comp-prepare": { executorLabel: "exec-prepare" },
    "comp-loop": { dag: { tasks: { train: { componentRef: { name: "comp-prepare" } }, check: { componentRef: { name: "comp-prepare" }, dependentTasks: ["train"] } } } },
  },
  deploymentSpec: { executors: { "exec-prepare": { container: { image: "prepare:latest", command: ["python"], args: ["x.py"] } } } },
};

describe("a pipeline document", () => {
  test("is found alone and beside a platform document", () => {
    expect(document(IR)).toBe(IR);
    expect(document({ pipeline_spec: IR, platform_spec: {} })).toBe(IR);
    expect(document({})).toBeUndefined();
  });

  test("becomes a tree whose paths are those of tasks", () => {
    const tree = steps(IR);
    expect(flatten(tree).map((step) => step.path)).toEqual(["root.prepare", "root.loop", "root.loop.train", "root.loop.check"]);
    expect(tree[1]?.kind).toBe("loop");
    expect(tree[1]?.after).toEqual([{ key: "prepare", passes: ["list"] }]);
    expect(tree[0]?.command).toEqual(["python", "x.py"]);
  });

  test("that contains itself still ends", () => {
    const ir: Ir = { root: { dag: { tasks: { a: { componentRef: { name: "c" } } } } }, components: { c: { dag: { tasks: { a: { componentRef: { name: "c" } } } } } } };
    expect(flatten(steps(ir))).toHaveLength(2);
  });

  test("says which parameters a run must give", () => {
    expect(parameters(IR).map(({ name, isOptional }) => [name, isOptional])).toEqual([["epochs", true], ["data", false]]);
  });
});

test("a box lies inside the box of its group, below what it follows", () => {
  const { boxes, arrows } = place(steps(IR));
  const box = (path: string) => {
    const found = boxes.find((one) => one.step.path === path);
    if (!found) throw new Error(path);
    return found;
  };
  const [group, train, check] = [box("root.loop"), box("root.loop.train"), box("root.loop.check")];
  expect(train.parent).toBe("root.loop");
  for (const one of [train, check]) {
    expect(one.x).toBeGreaterThan(0);
    expect(one.x + one.width).toBeLessThan(group.width);
    expect(one.y + one.height).toBeLessThan(group.height);
  }
  expect(check.y).toBeGreaterThan(train.y + train.height);
  expect(group.y).toBeGreaterThan(box("root.prepare").y);
  expect(arrows.map((arrow) => [arrow.from, arrow.to])).toContainEqual(["root.prepare", "root.loop"]);
});

describe("what a person types", () => {
  const of = (type: string) => ({ name: "p", type, isOptional: false });
  test("is read by the parameter's type", () => {
    expect(readValue(of("NUMBER_INTEGER"), "3")).toBe(3);
    expect(readValue(of("NUMBER_DOUBLE"), "0.5")).toBe(0.5);
    expect(readValue(of("STRING"), "3")).toBe("3");
    expect(readValue(of("BOOLEAN"), "true")).toBe(true);
    expect(readValue(of("LIST"), "[1]")).toEqual([1]);
  });
  test("is refused in words where it is no such value", () => {
    expect(() => readValue(of("NUMBER_INTEGER"), "3.5")).toThrow("p takes a whole number");
    expect(() => readValue(of("STRUCT"), "[1]")).toThrow("JSON object");
    expect(() => readValue(of("LIST"), "{")).toThrow("p takes JSON");
  });
});

describe("the memory of a step", () => {
  const ir = { deploymentSpec: { executors: { fit: { container: { image: "a", resources: { cpuLimit: 1, memoryLimit: 0.5 } } }, other: { importer: {} } } } };
  test("is read in either spelling, and raised in the newer one alone", () => {
    expect(memoryOf(ir, "fit")).toBe("0.5G");
    const raised = withMemory(ir, "fit", "2G");
    expect(raised && memoryOf(raised, "fit")).toBe("2G");
    expect(raised?.deploymentSpec?.executors?.fit?.container?.resources).toEqual({ cpuLimit: 1, resourceMemoryLimit: "2G" });
    expect(raised?.deploymentSpec?.executors?.other).toBe(ir.deploymentSpec.executors.other);
  });
  test("stays as it is where there is no such container, or the limit is none", () => {
    expect(withMemory(ir, "other", "2G")).toBeUndefined();
    expect(withMemory(ir, "fit", "much")).toBeUndefined();
  });
});
