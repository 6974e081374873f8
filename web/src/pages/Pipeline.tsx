// One pipeline: its graph, its versions; and the form that starts a run of it.
import { type FormEvent, useMemo, useState } from "react";
import { post } from "../api/client";
import { moment, type Run } from "../api/model";
import { api, page } from "../api/paths";
import { usePipeline, useVersion, useVersions } from "../api/queries";
import { plain } from "../format";
import { document as documentOf, flatten, parameters, type Parameter, readValue, type Step, steps as stepsOf, typeWord } from "../graph/document";
import { Graph } from "../graph/Graph";
import { go, setQuery } from "../router";
import { Button, CopyMenu, Facts, Head, KeyValues, Loading, Problem, Since, useTitle } from "../ui/parts";

function useDocument(id: string, wanted: string | undefined) {
  const pipeline = usePipeline(id);
  const versions = useVersions(id);
  const list = versions.data?.pipeline_versions ?? [];
  const versionId = wanted ?? list[0]?.pipeline_version_id;
  const version = useVersion(id, versionId);
  const ir = useMemo(() => documentOf(version.data?.pipeline_spec), [version.data]);
  const error = pipeline.error ?? versions.error ?? version.error;
  return { pipeline: pipeline.data, list, version: version.data, versionId, ir, error, retry: () => void Promise.all([pipeline.refetch(), versions.refetch(), version.refetch()]) };
}

export function Pipeline({ id, wanted, query }: { id: string; wanted?: string; query: URLSearchParams }) {
  const { pipeline, list, version, versionId, ir, error, retry } = useDocument(id, wanted);
  const steps = useMemo(() => (ir ? stepsOf(ir) : []), [ir]);
  const name = pipeline?.display_name ?? pipeline?.name ?? "Pipeline";
  useTitle(name);
  if (error) return <Problem error={error} doing="Reading the pipeline" retry={retry} />;
  if (!pipeline || !version) return <Loading what="the pipeline" />;
  const all = flatten(steps);
  const chosen = all.find((step) => step.path === query.get("step")) ?? all[0];
  return (
    <div className="page fill">
      <Head
        crumbs={[{ name: "Pipelines", href: page.pipelines }, { name: version.display_name ?? version.name ?? "" }]}
        title={name}
        actions={
          <>
            <CopyMenu items={[{ name: "Python", text: `kfp.Client(host="${window.location.origin}").run_pipeline(experiment_id="", job_name="${name}", pipeline_id="${id}", version_id="${versionId}")` }, { name: "curl", text: `curl '${window.location.origin}${api.version(id, versionId ?? "")}'` }]} />
            <Button kind="primary" href={page.newRun(id, versionId)}>Create run</Button>
          </>
        }
        facts={
          <Facts
            items={[
              { name: "Version", value: <select aria-label="Version" value={versionId} onChange={(event) => go(page.pipeline(id, event.target.value))}>{list.map((one) => <option key={one.pipeline_version_id} value={one.pipeline_version_id}>{one.display_name ?? one.name}</option>)}</select> },
              { name: "Created", value: <Since at={moment(version.created_at)} /> },
              { name: "Steps", value: String(all.filter((step) => step.children.length === 0).length) },
              ...((pipeline.description ?? ir?.pipelineInfo?.description) ? [{ name: "Description", value: pipeline.description ?? ir?.pipelineInfo?.description }] : []),
            ]}
          />
        }
      />
      <div className="run-area">
        <div className="run-left">
          <div className="graph" role="region" aria-label="Graph"><Graph steps={steps} chosen={chosen?.path} choose={(path) => setQuery({ step: path })} /></div>
        </div>
        <aside className="side" aria-label="Chosen step">
          {chosen && <StepFacts step={chosen} />}
          {ir && parameters(ir).length > 0 && (
            <div className="pad">
              <h3 className="label">Parameters of the pipeline</h3>
              <KeyValues items={parameters(ir).map((one) => ({ name: one.name, value: <>{typeWord(one.type)}{one.defaultValue !== undefined && <> = <code>{plain(one.defaultValue)}</code></>}</> }))} />
            </div>
          )}
        </aside>
      </div>
    </div>
  );
}

function StepFacts({ step }: { step: Step }) {
  return (
    <>
      <div className="side-head"><h2>{step.label}</h2><span className="mute">{step.kind}</span></div>
      <div className="pad">
        <KeyValues
          items={[
            ...(step.image ? [{ name: "Image", value: <code>{step.image}</code> }] : []),
            ...(step.command?.length ? [{ name: "Command", value: <code className="clip">{step.command.join(" ")}</code> }] : []),
            ...(step.condition ? [{ name: "Only if", value: <code>{step.condition}</code> }] : []),
            { name: "After", value: step.after.map((one) => one.key).join(", ") || "nothing" },
          ]}
        />
      </div>
    </>
  );
}

export function NewRun({ pipeline: id, version: wanted }: { pipeline: string; version?: string }) {
  const { pipeline, version, ir, error, retry } = useDocument(id, wanted);
  const name = pipeline?.display_name ?? pipeline?.name ?? "";
  useTitle(`New run ${name}`);
  if (error) return <Problem error={error} doing="Reading the pipeline" retry={retry} />;
  if (!pipeline || !version || !ir) return <Loading what="the pipeline" />;
  return <Form key={version.pipeline_version_id} id={id} version={version.pipeline_version_id} name={name} fields={parameters(ir)} />;
}

function Form({ id, version, name, fields }: { id: string; version: string; name: string; fields: Parameter[] }) {
  const [title, setTitle] = useState(`${name} ${new Date().toISOString().slice(0, 16).replace("T", " ")}`);
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(fields.map((field) => [field.name, field.defaultValue === undefined ? "" : plain(field.defaultValue)])));
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
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
    if (Object.keys(found).length > 0) return;
    setBusy(true);
    setFailure(undefined);
    try {
      const run = await post<Run>(api.createRun, { display_name: title, pipeline_version_reference: { pipeline_id: id, pipeline_version_id: version }, runtime_config: { parameters: given } });
      go(page.run(run.run_id));
    } catch (error) {
      setFailure(error);
      setBusy(false);
    }
  };
  const set = (key: string, value: string) => setValues({ ...values, [key]: value });
  return (
    <div className="page">
      <Head crumbs={[{ name: "Pipelines", href: page.pipelines }, { name, href: page.pipeline(id, version) }]} title="New run" />
      <form className="form" onSubmit={(event) => void submit(event)} noValidate>
        <label>Name<input value={title} onChange={(event) => setTitle(event.target.value)} required /></label>
        {fields.length === 0 && <p className="mute">This pipeline takes no parameters.</p>}
        {fields.map((field) => (
          <label key={field.name}>
            <span><code>{field.name}</code> <span className="mute">{typeWord(field.type)}{field.isOptional ? "" : ", required"}</span></span>
            {field.type === "BOOLEAN" || field.literals ? (
              <select value={values[field.name]} onChange={(event) => set(field.name, event.target.value)}>
                {(field.literals ?? ["", true, false]).map((one) => <option key={plain(one)} value={plain(one)}>{one === "" ? "–" : plain(one)}</option>)}
              </select>
            ) : field.type === "LIST" || field.type === "STRUCT" ? (
              <textarea rows={3} value={values[field.name]} onChange={(event) => set(field.name, event.target.value)} aria-invalid={!!wrong[field.name]} />
            ) : (
              <input value={values[field.name]} inputMode={field.type.startsWith("NUMBER") ? "decimal" : undefined} onChange={(event) => set(field.name, event.target.value)} aria-invalid={!!wrong[field.name]} />
            )}
            {field.description && <span className="mute">{field.description}</span>}
            {wrong[field.name] && <span className="failed-text" role="alert">{wrong[field.name]}</span>}
          </label>
        ))}
        {failure !== undefined && <Problem error={failure} doing="Starting the run" />}
        <div className="row"><Button type="submit" kind="primary" disabled={busy || title === ""}>{busy ? "Starting…" : "Start run"}</Button><Button href={page.pipeline(id, version)}>Back</Button></div>
      </form>
    </div>
  );
}
