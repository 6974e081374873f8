// The form that starts a run: of a pipeline's version, or like a run that was.
import { type FormEvent, useState } from "react";
import { post } from "../api/client";
import type { Run } from "../api/model";
import { api, page } from "../api/paths";
import { useRunOnce } from "../api/queries";
import { plain } from "../format";
import { document as documentOf, flatten, type Ir, memoryOf, parameters, type Parameter, readValue, type Step, steps as stepsOf, typeWord, withMemory } from "../graph/document";
import { go } from "../router";
import { t } from "../strings";
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
  isClone?: boolean;
  /** A step that is to have more memory, and the document in which it stands. */
  raised?: Step;
  document?: Run["pipeline_spec"];
}

export function NewRun({ query }: { query: URLSearchParams }) {
  const from = query.get("from");
  const pipeline = query.get("pipeline") ?? query.get("pipelineId");
  if (from) return <FromRun id={from} raised={query.get("memory") ?? undefined} />;
  if (pipeline) return <FromPipeline id={pipeline} wanted={query.get("version") ?? query.get("pipelineVersionId") ?? undefined} />;
  return (
    <Empty title={t.newRun.ofWhat}>
      <p>{t.newRun.ofWhatWhy}</p>
      <Button href={page.pipelines} kind="primary">{t.page.pipelines}</Button>
    </Empty>
  );
}

function FromPipeline({ id, wanted }: { id: string; wanted?: string }) {
  const { pipeline, version, ir, error, retry } = useDocument(id, wanted);
  const name = pipeline?.display_name ?? pipeline?.name ?? "";
  useTitle(t.newRun.titleOf(name));
  if (error) return <Problem error={error} doing={t.pipeline.reading} retry={retry} />;
  if (!pipeline || !version || !ir) return <Loading what={t.loading.pipeline} />;
  const reference = { pipeline_id: id, pipeline_version_id: version.pipeline_version_id };
  const back = page.pipeline(id, version.pipeline_version_id);
  return <Form key={version.pipeline_version_id} source={{ name, crumbs: [{ name: t.page.pipelines, href: page.pipelines }, { name, href: back }], back, what: { pipeline_version_reference: reference }, ir, given: {} }} />;
}

function FromRun({ id, raised }: { id: string; raised?: string }) {
  const run = useRunOnce(id);
  const name = run.data?.display_name ?? "";
  useTitle(t.newRun.cloneTitle(name));
  if (run.isError) return <Problem error={run.error} doing={t.run.reading} retry={() => void run.refetch()} />;
  if (!run.data) return <Loading what={t.loading.run} />;
  const ir = documentOf(run.data.pipeline_spec);
  const reference = run.data.pipeline_version_reference;
  if (!ir)
    return (
      <Empty title={t.newRun.noClone}>
        <p>{t.newRun.noCloneWhy}</p>
        <Button href={page.run(id)}>{t.newRun.backToRun}</Button>
      </Empty>
    );
  const { plugins_input, experiment_id, service_account, pipeline_spec } = run.data;
  const step = raised === undefined ? undefined : flatten(stepsOf(ir)).find((one) => one.path === raised);
  const what = { plugins_input, experiment_id, service_account, ...(reference?.pipeline_version_id ? { pipeline_version_reference: reference } : { pipeline_spec }) };
  return <Form source={{ name: t.newRun.cloneOf(name), isClone: true, crumbs: [{ name: t.page.runs, href: page.runs }, { name, href: page.run(id) }], back: page.run(id), what, ir, given: run.data.runtime_config?.parameters ?? {}, raised: step?.executor ? step : undefined, document: pipeline_spec }} />;
}

/** Name of the field of memory; no parameter can have it. */
const MEMORY = "/memory";

/** The document as it came, with another pipeline in it: a platform's document may lie beside. */
function around(document: Run["pipeline_spec"], ir: Ir): Run["pipeline_spec"] {
  return document && "pipeline_spec" in document ? { ...document, pipeline_spec: ir } : (ir as Run["pipeline_spec"]);
}

function Form({ source }: { source: Source }) {
  const fields = parameters(source.ir);
  const [title, setTitle] = useState(source.isClone ? source.name : t.newRun.named(source.name, new Date().toISOString().slice(0, 16).replace("T", " ")));
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(fields.map((field) => [field.name, first(field, source.given)])));
  const raised = source.raised?.executor;
  const [memory, setMemory] = useState(() => (raised === undefined ? "" : (memoryOf(source.ir, raised) ?? "")));
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
        found[field.name] = t.newRun.required(field.name);
        continue;
      }
      try {
        given[field.name] = readValue(field, text);
      } catch (error) {
        found[field.name] = (error as Error).message;
      }
    }
    let what = source.what;
    if (raised !== undefined) {
      const raisedIr = withMemory(source.ir, raised, memory.trim());
      if (raisedIr) what = { ...what, pipeline_version_reference: undefined, pipeline_spec: around(source.document, raisedIr) };
      else found[MEMORY] = t.newRun.memoryWrong;
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
      const run = await post<Run>(api.createRun, { display_name: title, ...what, runtime_config: { parameters: given } });
      go(page.run(run.run_id));
    } catch (error) {
      setFailure(error);
      setBusy(false);
    }
  };
  const set = (key: string, value: string) => setValues({ ...values, [key]: value });
  return (
    <div className="page">
      <Head crumbs={source.crumbs} title={source.isClone ? t.newRun.clone : t.newRun.title} />
      <form className="form" onSubmit={(event) => void submit(event)} noValidate>
        <label>{t.newRun.name}<input value={title} onChange={(event) => setTitle(event.target.value)} required /></label>
        {raised !== undefined && (
          <label>
            {t.newRun.memoryOf(source.raised?.label ?? "")}
            <input name={MEMORY} value={memory} aria-invalid={wrong[MEMORY] !== undefined} onChange={(event) => setMemory(event.target.value)} />
            <span className="mute">{t.newRun.memoryHint}</span>
            {wrong[MEMORY] && <span className="failed-text" role="alert">{wrong[MEMORY]}</span>}
          </label>
        )}
        <h2>{t.newRun.parameters}</h2>
        {fields.length === 0 && <p className="mute">{t.newRun.noParameters}</p>}
        {fields.map((field) => <Field key={field.name} field={field} value={values[field.name] ?? ""} wrong={wrong[field.name]} set={(value) => set(field.name, value)} />)}
        {failure !== undefined && <Problem error={failure} doing={t.newRun.starting} />}
        <div className="row"><Button type="submit" kind="primary" disabled={busy || title === ""}>{busy ? t.newRun.busy : t.newRun.start}</Button><Button href={source.back}>{t.act.back}</Button></div>
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
      <span><code>{field.name}</code> <span className="mute">{typeWord(field.type)}{field.isOptional ? "" : t.newRun.isRequired}</span></span>
      {field.type === "BOOLEAN" || field.literals ? (
        <select {...common} onChange={(event) => set(event.target.value)}>
          {(field.literals ?? ["", true, false]).map((one) => <option key={plain(one)} value={plain(one)}>{one === "" ? t.none : plain(one)}</option>)}
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
