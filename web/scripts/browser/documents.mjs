// Pipelines that the checks submit. They use an image of the guide, so that nothing more need be built.

const python = (code, ...args) => ({ container: { image: "train:latest", command: ["python", "-u", "-c", code], args } });

function pipeline(name, tasks, executors, { parameters = {}, inputs = {}, outputs = {} } = {}) {
  const keys = Object.keys(executors);
  return {
    pipelineInfo: { name },
    schemaVersion: "2.1.0",
    sdkVersion: "kfp-2.17.0",
    root: { inputDefinitions: { parameters }, dag: { tasks } },
    components: Object.fromEntries(keys.map((key) => [`comp-${key}`, { executorLabel: `exec-${key}`, ...(inputs[key] && { inputDefinitions: { parameters: inputs[key] } }), ...(outputs[key] && { outputDefinitions: { parameters: outputs[key] } }) }])),
    deploymentSpec: { executors: Object.fromEntries(keys.map((key) => [`exec-${key}`, executors[key]])) },
  };
}

const task = (name, more = {}) => ({ taskInfo: { name }, componentRef: { name: `comp-${name}` }, ...more });

/** One parameter; it is looked at, and refused by its form. */
export const GREETING = pipeline(
  "greeting",
  { greet: task("greet") },
  { greet: python("print('hello')") },
  { parameters: { times: { parameterType: "NUMBER_INTEGER", description: "How often to greet" } } },
);

/** Another version of it, with one step more. */
export const GREETING_TWICE = pipeline(
  "greeting",
  { greet: task("greet"), wave: task("wave", { dependentTasks: ["greet"] }) },
  { greet: python("print('hello')"), wave: python("print('goodbye')") },
  { parameters: { times: { parameterType: "NUMBER_INTEGER", description: "How often to greet" } } },
);

/** Fails in its third step after having said something for a while; the second step is quicker than the third. */
export const FAILING = pipeline(
  "nightly-report",
  {
    load: task("load", { cachingOptions: { enableCache: true } }),
    plot: task("plot", { dependentTasks: ["load"] }),
    fit: task("fit", { dependentTasks: ["load"], inputs: { parameters: { rate: { componentInputParameter: "rate" } } } }),
    send: task("send", { dependentTasks: ["fit", "plot"] }),
  },
  {
    load: python("import sys, os\np = sys.argv[1]\nos.makedirs(os.path.dirname(p), exist_ok=True)\nopen(p, 'w').write('1200')\nprint('read 1200 rows')", "{{$.outputs.parameters['rows'].output_file}}"),
    plot: python("print('plotted')"),
    fit: python("import sys, time\nfor i in range(8):\n    print('epoch', i)\n    time.sleep(0.5)\nraise ValueError('the learning rate ' + sys.argv[1] + ' lets the loss diverge')", "{{$.inputs.parameters['rate']}}"),
    send: python("print('sent')"),
  },
  { parameters: { rate: { parameterType: "NUMBER_DOUBLE", defaultValue: 0.9 } }, inputs: { fit: { rate: { parameterType: "NUMBER_DOUBLE" } } }, outputs: { load: { rows: { parameterType: "NUMBER_INTEGER" } } } },
);

/** Goes on until it is stopped. */
export const HELD = pipeline("held", { wait: task("wait") }, { wait: python("import time\nprint('waiting')\ntime.sleep(600)") });

/** Is over at once and makes no pod: its only step is not wanted. */
export const NOTHING = pipeline(
  "nothing",
  { never: task("never", { inputs: { parameters: { wanted: { runtimeValue: { constant: false } } } }, triggerPolicy: { condition: "inputs.parameter_values['wanted'] == true" } }) },
  { never: python("print('never')") },
  { inputs: { never: { wanted: { parameterType: "BOOLEAN" } } } },
);

/** Takes a rate and reports an accuracy that follows from it. */
export const SCORED = {
  ...pipeline(
    "scored",
    { score: task("score", { cachingOptions: { enableCache: true }, inputs: { parameters: { lr: { componentInputParameter: "lr" } } } }) },
    {
      score: python(
        "import sys, json, os\no = json.loads(sys.argv[1])['outputs']\nm = o['artifacts']['metrics']['artifacts'][0]\nm['metadata'] = {'accuracy': 1 - float(sys.argv[2])}\nos.makedirs(os.path.dirname(o['outputFile']), exist_ok=True)\njson.dump({'artifacts': {'metrics': {'artifacts': [m]}}}, open(o['outputFile'], 'w'))",
        "{{$}}",
        "{{$.inputs.parameters['lr']}}",
      ),
    },
    { parameters: { lr: { parameterType: "NUMBER_DOUBLE", defaultValue: 0.1 } } },
  ),
  components: {
    "comp-score": {
      executorLabel: "exec-score",
      inputDefinitions: { parameters: { lr: { parameterType: "NUMBER_DOUBLE" } } },
      outputDefinitions: { artifacts: { metrics: { artifactType: { schemaTitle: "system.Metrics", schemaVersion: "0.0.1" } } } },
    },
  },
};
