// Uploaded pipelines: the list, and how a new one gets in.
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { call } from "../api/client";
import { moment, type Pipeline } from "../api/model";
import { api, page } from "../api/paths";
import { usePipelines } from "../api/queries";
import { go } from "../router";
import { Button, Empty, Head, Loading, Problem, Since, useTitle } from "../ui/parts";

export function Pipelines() {
  const pipelines = usePipelines();
  const cache = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  useTitle("Pipelines");
  const upload = async (file: File) => {
    setFailure(undefined);
    setBusy(true);
    try {
      const body = new FormData();
      body.append("uploadfile", file, file.name);
      const made = await call<Pipeline>(api.upload(file.name.replace(/\.(ya?ml|json|zip|tar\.gz|tgz)$/i, "")), { method: "POST", body });
      await cache.invalidateQueries({ queryKey: ["pipelines"] });
      go(page.pipeline(made.pipeline_id));
    } catch (error) {
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  const list = pipelines.data?.pipelines ?? [];
  return (
    <div className="page" onDragOver={(event) => event.preventDefault()} onDrop={(event) => { event.preventDefault(); const file = event.dataTransfer.files[0]; if (file) void upload(file); }}>
      <Head title="Pipelines" actions={<Button kind="primary" disabled={busy} onClick={() => picker.current?.click()}>{busy ? "Uploading…" : "Upload"}</Button>} />
      <input ref={picker} type="file" hidden aria-label="Pipeline file" accept=".yaml,.yml,.json,.zip,.gz,.tgz" onChange={(event) => { const file = event.target.files?.[0]; if (file) void upload(file); event.target.value = ""; }} />
      {failure !== undefined && <Problem error={failure} doing="The upload" />}
      {pipelines.isPending && <Loading what="pipelines" />}
      {pipelines.isError && <Problem error={pipelines.error} doing="Reading the pipelines" retry={() => void pipelines.refetch()} />}
      {pipelines.data && list.length === 0 && <Empty title="No pipeline yet" command="kfp pipeline create -p my-pipeline pipeline.yaml">Upload a compiled pipeline, or drop its file here. `kfctl run` needs none of this: it takes the Python file.</Empty>}
      {list.length > 0 && (
        <div className="table-box" tabIndex={0} role="region" aria-label="Pipelines">
          <table>
            <thead><tr><th scope="col">Name</th><th scope="col" className="wide">Description</th><th scope="col">Created</th><th scope="col"><span className="sr">Actions</span></th></tr></thead>
            <tbody>
              {list.map((one) => (
                <tr key={one.pipeline_id}>
                  <td className="name"><a className="row-link" href={page.pipeline(one.pipeline_id)}>{one.display_name ?? one.name}</a></td>
                  <td className="wide mute clip">{one.description}</td>
                  <td className="num mute"><Since at={moment(one.created_at)} /></td>
                  <td className="right"><a href={page.newRun(one.pipeline_id)} aria-label={`Run ${one.display_name ?? one.name}`}>Run</a></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
