// Uploaded pipelines: the list, and how a new one gets in.
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { call } from "../api/client";
import { moment, type Pipeline } from "../api/model";
import { api, page } from "../api/paths";
import { NEWEST, usePipelines } from "../api/queries";
import { go, setQuery } from "../router";
import { Filter } from "../ui/Filter";
import { Button, Empty, Head, Loading, Problem, Since, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";

const COLUMNS: Column<Pipeline>[] = [
  { id: "name", name: "Name", sort: "display_name", className: "name", cell: (one) => one.display_name ?? one.name },
  { id: "description", name: "Description", width: "40%", isWide: true, className: "clip mute", cell: (one) => one.description },
  { id: "created", name: "Created", width: "104px", sort: "created_at", className: "num mute", cell: (one) => <Since at={moment(one.created_at)} /> },
  { id: "run", name: <span className="sr">Actions</span>, width: "76px", className: "right", cell: (one) => <a href={page.newRun(one.pipeline_id)} aria-label={`Run ${one.display_name ?? one.name}`}>Run</a> },
];

/** The file's name as a pipeline's. */
export function nameOf(file: string): string {
  return file.replace(/\.(ya?ml|json|zip|tar\.gz|tgz)$/i, "");
}

export function Pipelines({ query }: { query: URLSearchParams }) {
  const text = query.get("filter") ?? "";
  const sort = query.get("sort") ?? NEWEST;
  const pipelines = usePipelines(text, sort);
  const cache = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const [isOver, setOver] = useState(false);
  useTitle("Pipelines");
  const upload = async (file: File) => {
    setFailure(undefined);
    setBusy(true);
    try {
      const body = new FormData();
      body.append("uploadfile", file, file.name);
      const made = await call<Pipeline>(api.upload(nameOf(file.name)), { method: "POST", body });
      await cache.invalidateQueries({ queryKey: ["pipelines"] });
      go(page.pipeline(made.pipeline_id));
    } catch (error) {
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div
      className={isOver ? "page fill drop" : "page fill"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => !event.currentTarget.contains(event.relatedTarget as HTMLElement | null) && setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer.files[0];
        if (file) void upload(file);
      }}
    >
      <Head title="Pipelines" actions={<Button kind="primary" disabled={busy} onClick={() => picker.current?.click()}>{busy ? "Uploading…" : "Upload"}</Button>} />
      <input ref={picker} type="file" hidden aria-label="Pipeline file" accept=".yaml,.yml,.json,.zip,.gz,.tgz" onChange={(event) => { const file = event.target.files?.[0]; if (file) void upload(file); event.target.value = ""; }} />
      <div className="filters"><Filter label="Filter pipelines" hint="name" value={text} change={(filter) => setQuery({ filter })} /><span className="mute num count" role="status">{pipelines.isSuccess ? `${pipelines.total} ${pipelines.total === 1 ? "pipeline" : "pipelines"}` : ""}</span></div>
      {failure !== undefined && <Problem error={failure} doing="The upload" />}
      {pipelines.isPending && <Loading what="pipelines" />}
      {pipelines.isError && <Problem error={pipelines.error} doing="Reading the pipelines" retry={() => void pipelines.refetch()} />}
      {pipelines.isSuccess && pipelines.list.length === 0 && (text ? <Empty title="No pipeline has this name"><Button onClick={() => setQuery({ filter: undefined })}>Show all pipelines</Button></Empty> : <Empty title="No pipeline yet" command="kfp pipeline create -p my-pipeline pipeline.yaml"><p>Upload a compiled pipeline, or drop its file here. <code>kfctl run</code> needs none of this: it takes the Python file.</p><Button onClick={() => picker.current?.click()}>Upload</Button></Empty>)}
      {pipelines.list.length > 0 && <Table label="Pipelines" view={text} columns={COLUMNS} rows={pipelines.list} total={pipelines.total} keyOf={(one) => one.pipeline_id} nameOf={(one) => one.display_name ?? one.name ?? one.pipeline_id} hrefOf={(one) => page.pipeline(one.pipeline_id)} sort={sort} onSort={(sort) => setQuery({ sort })} more={pipelines.hasNextPage && !pipelines.isFetchingNextPage ? () => void pipelines.fetchNextPage() : undefined} />}
    </div>
  );
}
