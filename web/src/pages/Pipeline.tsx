// One pipeline: its graph, its versions, its runs’ beginning.
import { useQueryClient } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";
import { call } from "../api/client";
import { moment, type PipelineVersion } from "../api/model";
import { api, page } from "../api/paths";
import { usePipeline, useVersion, useVersions } from "../api/queries";
import { plain } from "../format";
import { document as documentOf, flatten, parameters, type Step, steps as stepsOf, typeWord } from "../graph/document";
import { Graph } from "../graph/Graph";
import { go, setQuery } from "../router";
import { nameOf } from "./Pipelines";
import { CopyMenu, MoreMenu } from "../ui/Menu";
import { Button, Confirm, Empty, Facts, Head, KeyValues, Loading, Problem, Since, useTitle } from "../ui/parts";

/** A pipeline, its versions, and the document of the wanted one, or of the newest. */
export function useDocument(id: string | undefined, wanted: string | undefined) {
  const pipeline = usePipeline(id);
  const versions = useVersions(id);
  const list = versions.data?.pipeline_versions ?? [];
  const versionId = wanted ?? list[0]?.pipeline_version_id;
  const version = useVersion(id, versionId);
  const ir = useMemo(() => documentOf(version.data?.pipeline_spec), [version.data]);
  const error = pipeline.error ?? versions.error ?? version.error;
  return { pipeline: pipeline.data, list, version: version.data, versionId, ir, error, hasNone: versions.isSuccess && list.length === 0, retry: () => void Promise.all([pipeline.refetch(), versions.refetch(), version.refetch()]) };
}

export function Pipeline({ id, wanted, query }: { id: string; wanted?: string; query: URLSearchParams }) {
  const { pipeline, list, version, versionId, ir, error, hasNone, retry } = useDocument(id, wanted);
  const steps = useMemo(() => (ir ? stepsOf(ir) : []), [ir]);
  const cache = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState<{ doing: string; error: unknown }>();
  const [busy, setBusy] = useState(false);
  const [asks, setAsks] = useState<"pipeline" | "version">();
  const name = pipeline?.display_name ?? pipeline?.name ?? "Pipeline";
  useTitle(name);
  const upload = async (file: File) => {
    setFailure(undefined);
    setBusy(true);
    try {
      const body = new FormData();
      body.append("uploadfile", file, file.name);
      const made = await call<PipelineVersion>(api.uploadVersion(id, freeName(nameOf(file.name), list)), { method: "POST", body });
      await cache.invalidateQueries({ queryKey: ["versions", id] });
      go(page.pipeline(id, made.pipeline_version_id));
    } catch (error) {
      setFailure({ doing: "Uploading the version", error });
    } finally {
      setBusy(false);
    }
  };
  const remove = async (what: "pipeline" | "version") => {
    setAsks(undefined);
    try {
      await call(what === "pipeline" ? api.deletePipeline(id) : api.version(id, versionId ?? ""), { method: "DELETE" });
      await cache.invalidateQueries({ queryKey: what === "pipeline" ? ["pipelines"] : ["versions", id] });
      go(what === "pipeline" ? page.pipelines : page.pipeline(id));
    } catch (error) {
      setFailure({ doing: `Deleting the ${what}`, error });
    }
  };
  const picked = <input ref={picker} type="file" hidden aria-label="File of the new version" accept=".yaml,.yml,.json,.zip,.gz,.tgz" onChange={(event) => { const file = event.target.files?.[0]; if (file) void upload(file); event.target.value = ""; }} />;
  if (error) return <Problem error={error} doing="Reading the pipeline" retry={retry} />;
  if (!pipeline) return <Loading what="the pipeline" />;
  if (hasNone) {
    return (
      <div className="page">
        <Head crumbs={[{ name: "Pipelines", href: page.pipelines }]} title={name} />
        {picked}
        {failure && <Problem error={failure.error} doing={failure.doing} />}
        <Empty title="This pipeline has no version yet"><p>Upload a compiled pipeline as its first.</p><Button kind="primary" disabled={busy} onClick={() => picker.current?.click()}>{busy ? "Uploading…" : "Upload version"}</Button></Empty>
      </div>
    );
  }
  if (!version) return <Loading what="the pipeline" />;
  const all = flatten(steps);
  const chosen = all.find((step) => step.path === query.get("step")) ?? all[0];
  return (
    <div className="page fill work">
      <Head
        crumbs={[{ name: "Pipelines", href: page.pipelines }, { name: version.display_name ?? version.name ?? "" }]}
        title={name}
        actions={
          <>
            <CopyMenu items={[{ name: "Python", text: `kfp.Client(host="${window.location.origin}").run_pipeline(experiment_id="", job_name="${name}", pipeline_id="${id}", version_id="${versionId}")` }, { name: "curl", text: `curl '${window.location.origin}${api.version(id, versionId ?? "")}'` }]} />
            <Button disabled={busy} onClick={() => picker.current?.click()}>{busy ? "Uploading…" : "Upload version"}</Button>
            <MoreMenu
              items={[
                ...(list.length > 1 ? [{ name: "Delete this version…", isDanger: true, run: () => setAsks("version") }] : []),
                { name: "Delete pipeline…", isDanger: true, run: () => setAsks("pipeline") },
              ]}
            />
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
      {picked}
      {failure && <Problem error={failure.error} doing={failure.doing} />}
      {asks && (
        <Confirm title={asks === "pipeline" ? `Delete ${name}?` : `Delete version ${version.display_name ?? version.name ?? ""}?`} action="Delete" run={() => void remove(asks)} close={() => setAsks(undefined)}>
          {asks === "pipeline" ? `The pipeline and its ${list.length} ${list.length === 1 ? "version" : "versions"} are lost for good. ` : "The version is lost for good. "}
          Runs that were started from it stay, but their graph cannot be drawn any more.
        </Confirm>
      )}
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

/** A version's name that is not taken: the file's, with a number if need be. */
function freeName(wanted: string, versions: PipelineVersion[]): string {
  const taken = new Set(versions.flatMap((one) => [one.name, one.display_name]));
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; ; number += 1) if (!taken.has(`${wanted} ${number}`)) return `${wanted} ${number}`;
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
