// The form that starts a run: of a pipeline's version, or like a run that was.
import { type FormEvent, useState } from "react";
import { post } from "../api/client";
import type { Run } from "../api/model";
import { api, page } from "../api/paths";
import { useRunOnce } from "../api/queries";
import { plain } from "../format";
import { document as documentOf, type Ir, parameters, type Parameter, readValue, typeWord } from "../graph/document";
import { go } from "../router";
import { Button, Empty, Head, Loading, Problem, useTitle } from "../ui/parts";
import { useDocument } from "./Pipeline";

/** What a run is started from. */
interface Source {
  name: string;
  crumbs: { name: string; href: string }[];
  back: string;
  /** Part of the request that says what to run. */
  what: Pick<Run, "pipeline_spec" | "pipeline_version_reference" | "plugins_input" | "experiment_id" | "service_account">;
  ir: Ir;
  given: Record<string, unknown>;
}

export function NewRun({ query }: { query: URLSearchParams }) {
  const from = query.get("from");
  const pipeline = query.get("pipeline") ?? query.get("pipelineId");
  if (from) return <FromRun id={from} />;
  if (pipeline) return <FromPipeline id={pipeline} wanted={query.get("version") ?? query.get("pipelineVersionId") ?? undefined} />;
  return (
    <Empty title="A run of what?">
      <p>Choose a pipeline to run, or clone a run that was.</p>
      <Button href={page.pipelines} kind="primary">Pipelines</Button>
    </Empty>
  );
}

function FromPipeline({ id, wanted }: { id: string; wanted?: string }) {
  const { pipeline, version, ir, error, retry } = useDocument(id, wanted);
  const name = pipeline?.display_name ?? pipeline?.name ?? "";
  useTitle(`New run ${name}`);
  if (error) return <Problem error={error} doing="Reading the pipeline" retry={retry} />;
  if (!pipeline || !version || !ir) return <Loading what="the pipeline" />;
  const reference = { pipeline_id: id, pipeline_version_id: version.pipeline_version_id };
  const back = page.pipeline(id, version.pipeline_version_id);
  return <Form key={version.pipeline_version_id} source={{ name, crumbs: [{ name: "Pipelines", href: page.pipelines }, { name, href: back }], back, what: { pipeline_version_reference: reference }, ir, given: {} }} />;
}

function FromRun({ id }: { id: string }) {
  const run = useRunOnce(id);
  const name = run.data?.display_name ?? "";
  useTitle(`Clone ${name}`);
  if (run.isError) return <Problem error={run.error} doing="Reading the run" retry={() => void run.refetch()} />;
  if (!run.data) return <Loading what="the run" />;
  const ir = documentOf(run.data.pipeline_spec);
  const reference = run.data.pipeline_version_reference;
  if (!ir)
    return (
      <Empty title="This run cannot be cloned">
        <p>The pipeline that it was started from is deleted, and its document with it.</p>
        <Button href={page.run(id)}>Back to the run</Button>
      </Empty>
    );
  const { plugins_input, experiment_id, service_account, pipeline_spec } = run.data;
  const what = { plugins_input, experiment_id, service_account, ...(reference?.pipeline_version_id ? { pipeline_version_reference: reference } : { pipeline_spec }) };
  return <Form source={{ name: `Clone of ${name}`, crumbs: [{ name: "Runs", href: page.runs }, { name, href: page.run(id) }], back: page.run(id), what, ir, given: run.data.runtime_config?.parameters ?? {} }} />;
}

function Form({ source }: { source: Source }) {
  const fields = parameters(source.ir);
  const isClone = source.name.startsWith("Clone of ");
  const [title, setTitle] = useState(isClone ? source.name : `${source.name} ${new Date().toISOString().slice(0, 16).replace("T", " ")}`);
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(fields.map((field) => [field.name, first(field, source.given)])));
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given: Record<string, unknown> = {};
    const found: Record<string, string> = {};
    for (const field of fields) {
      const text = values[field.name] ?? "";
      if (text === "" && field.isOptional) continue;
      if (text === "" && field.type !== "STRING") {
        found[field.name] = `${field.name} is required`;
        continue;
      }
      try {
        given[field.name] = readValue(field, text);
      } catch (error) {
        found[field.name] = (error as Error).message;
      }
    }
    setWrong(found);
    const bad = Object.keys(found)[0];
    if (bad !== undefined) {
      event.currentTarget.querySelector<HTMLElement>(`[name="${CSS.escape(bad)}"]`)?.focus();
      return;
    }
    setBusy(true);
    setFailure(undefined);
    try {
      const run = await post<Run>(api.createRun, { display_name: title, ...source.what, runtime_config: { parameters: given } });
      go(page.run(run.run_id));
    } catch (error) {
      setFailure(error);
      setBusy(false);
    }
  };
  const set = (key: string, value: string) => setValues({ ...values, [key]: value });
  return (
    <div className="page">
      <Head crumbs={source.crumbs} title={isClone ? "Clone run" : "New run"} />
      <form className="form" onSubmit={(event) => void submit(event)} noValidate>
        <label>Name<input value={title} onChange={(event) => setTitle(event.target.value)} required /></label>
        <h2>Parameters</h2>
        {fields.length === 0 && <p className="mute">This pipeline takes none.</p>}
        {fields.map((field) => <Field key={field.name} field={field} value={values[field.name] ?? ""} wrong={wrong[field.name]} set={(value) => set(field.name, value)} />)}
        {failure !== undefined && <Problem error={failure} doing="Starting the run" />}
        <div className="row"><Button type="submit" kind="primary" disabled={busy || title === ""}>{busy ? "Starting…" : "Start run"}</Button><Button href={source.back}>Back</Button></div>
      </form>
    </div>
  );
}

function first(field: Parameter, given: Record<string, unknown>): string {
  const value = given[field.name] ?? field.defaultValue;
  return value === undefined ? "" : plain(value);
}

function Field({ field, value, wrong, set }: { field: Parameter; value: string; wrong?: string; set: (value: string) => void }) {
  const common = { name: field.name, value, "aria-invalid": wrong !== undefined };
  return (
    <label>
      <span><code>{field.name}</code> <span className="mute">{typeWord(field.type)}{field.isOptional ? "" : ", required"}</span></span>
      {field.type === "BOOLEAN" || field.literals ? (
        <select {...common} onChange={(event) => set(event.target.value)}>
          {(field.literals ?? ["", true, false]).map((one) => <option key={plain(one)} value={plain(one)}>{one === "" ? "–" : plain(one)}</option>)}
        </select>
      ) : field.type === "LIST" || field.type === "STRUCT" ? (
        <textarea rows={3} {...common} onChange={(event) => set(event.target.value)} />
      ) : (
        <input {...common} inputMode={field.type.startsWith("NUMBER") ? "decimal" : undefined} onChange={(event) => set(event.target.value)} />
      )}
      {field.description && <span className="mute">{field.description}</span>}
      {wrong && <span className="failed-text" role="alert">{wrong}</span>}
    </label>
  );
}
