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
import { t } from "../strings";
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
  const name = pipeline?.display_name ?? pipeline?.name ?? t.pipeline.title;
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
      setFailure({ doing: t.pipeline.uploading, error });
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
      setFailure({ doing: t.pipeline.deleting[what], error });
    }
  };
  const picked = <input ref={picker} type="file" hidden aria-label={t.pipeline.newVersion} accept=".yaml,.yml,.json,.zip,.gz,.tgz" onChange={(event) => { const file = event.target.files?.[0]; if (file) void upload(file); event.target.value = ""; }} />;
  if (error) return <Problem error={error} doing={t.pipeline.reading} retry={retry} />;
  if (!pipeline) return <Loading what={t.loading.pipeline} />;
  if (hasNone) {
    return (
      <div className="page">
        <Head crumbs={[{ name: t.pipelines.title, href: page.pipelines }]} title={name} />
        {picked}
        {failure && <Problem error={failure.error} doing={failure.doing} />}
        <Empty title={t.pipeline.noVersion}><p>{t.pipeline.noVersionWhy}</p><Button kind="primary" disabled={busy} onClick={() => picker.current?.click()}>{busy ? t.act.uploading : t.pipeline.uploadVersion}</Button></Empty>
      </div>
    );
  }
  if (!version) return <Loading what={t.loading.pipeline} />;
  const all = flatten(steps);
  const chosen = all.find((step) => step.path === query.get("step")) ?? all[0];
  return (
    <div className="page fill work">
      <Head
        crumbs={[{ name: t.pipelines.title, href: page.pipelines }, { name: version.display_name ?? version.name ?? "" }]}
        title={name}
        actions={
          <>
            <CopyMenu items={[{ name: t.copy.python, text: `kfp.Client(host="${window.location.origin}").run_pipeline(experiment_id="", job_name="${name}", pipeline_id="${id}", version_id="${versionId}")` }, { name: t.copy.kfctl, text: `kfctl run pipeline.yaml --name "${name}" --follow` }, { name: t.copy.curl, text: `curl '${window.location.origin}${api.version(id, versionId ?? "")}'` }, { name: t.copy.yaml, text: `curl -s '${window.location.origin}${api.version(id, versionId ?? "")}' | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["pipeline_spec"], indent=2))' > pipeline.yaml` }, { name: t.copy.link, text: window.location.href }]} />
            <Button disabled={busy} onClick={() => picker.current?.click()}>{busy ? t.act.uploading : t.pipeline.uploadVersion}</Button>
            <MoreMenu
              items={[
                ...(list.length > 1 ? [{ name: t.pipeline.deleteThis, isDanger: true, run: () => setAsks("version") }] : []),
                { name: t.pipeline.deleteAll, isDanger: true, run: () => setAsks("pipeline") },
              ]}
            />
            <Button kind="primary" href={page.newRun(id, versionId)}>{t.pipeline.createRun}</Button>
          </>
        }
        facts={
          <Facts
            items={[
              { name: t.pipeline.version, value: <select aria-label={t.pipeline.version} value={versionId} onChange={(event) => go(page.pipeline(id, event.target.value))}>{list.map((one) => <option key={one.pipeline_version_id} value={one.pipeline_version_id}>{one.display_name ?? one.name}</option>)}</select> },
              { name: t.pipeline.created, value: <Since at={moment(version.created_at)} /> },
              { name: t.pipeline.steps, value: String(all.filter((step) => step.children.length === 0).length) },
              ...((pipeline.description ?? ir?.pipelineInfo?.description) ? [{ name: t.pipeline.description, value: pipeline.description ?? ir?.pipelineInfo?.description }] : []),
            ]}
          />
        }
      />
      {picked}
      {failure && <Problem error={failure.error} doing={failure.doing} />}
      {asks && (
        <Confirm title={asks === "pipeline" ? t.pipeline.deletePipeline(name) : t.pipeline.deleteVersion(version.display_name ?? version.name ?? "")} action={t.act.delete} run={() => void remove(asks)} close={() => setAsks(undefined)}>
          {asks === "pipeline" ? t.pipeline.pipelineLoses(list.length) : t.pipeline.versionLoses}
        </Confirm>
      )}
      <div className="run-area">
        <div className="run-left">
          <div className="graph" role="region" aria-label={t.run.graph}><Graph steps={steps} chosen={chosen?.path} choose={(path) => setQuery({ step: path })} /></div>
        </div>
        <aside className="side" aria-label={t.run.chosenStep}>
          {chosen && <StepFacts step={chosen} />}
          {ir && parameters(ir).length > 0 && (
            <div className="pad">
              <h3 className="label">{t.pipeline.parameters}</h3>
              <KeyValues items={parameters(ir).map((one) => ({ name: one.name, value: one.defaultValue === undefined ? typeWord(one.type) : t.pipeline.is(typeWord(one.type), <code>{plain(one.defaultValue)}</code>) }))} />
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
      <div className="side-head"><h2>{step.label}</h2><span className="mute">{t.graph.kinds[step.kind]}</span></div>
      <div className="pad">
        <KeyValues
          items={[
            ...(step.image ? [{ name: t.pipeline.image, value: <code>{step.image}</code> }] : []),
            ...(step.command?.length ? [{ name: t.pipeline.command, value: <code className="clip" tabIndex={0}>{step.command.join(" ")}</code> }] : []),
            ...(step.condition ? [{ name: t.pipeline.onlyIf, value: <code>{step.condition}</code> }] : []),
            { name: t.pipeline.after, value: step.after.map((one) => one.key).join(", ") || t.pipeline.nothing },
          ]}
        />
      </div>
    </>
  );
}
