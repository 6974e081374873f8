// Uploaded pipelines: the list, and how a new one gets in.
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { call, remove } from "../api/client";
import { moment, type Pipeline } from "../api/model";
import { api, page } from "../api/paths";
import { NEWEST, usePipelines } from "../api/queries";
import { go, setQuery } from "../router";
import { t } from "../strings";
import { Filter } from "../ui/Filter";
import { CopyMenu } from "../ui/Menu";
import { Button, Empty, Head, Loading, Problem, Since, useTitle } from "../ui/parts";
import { type Column, Table } from "../ui/Table";
import { Bulk, useChosen } from "./Bulk";
import { columnsOf, ListTools, pick } from "./ListTools";

const COLUMNS: Column<Pipeline>[] = [
  { id: "name", name: t.pipelines.name, sort: "display_name", className: "name", cell: (one) => one.display_name ?? one.name },
  { id: "description", name: t.pipelines.description, width: "40%", isWide: true, className: "clip mute", cell: (one) => one.description },
  { id: "created", name: t.pipelines.created, width: "112px", sort: "created_at", className: "num mute", cell: (one) => <Since at={moment(one.created_at)} /> },
  { id: "id", name: t.pipelines.id, width: "290px", isWide: true, className: "mute", cell: (one) => <code>{one.pipeline_id}</code> },
  { id: "run", name: <span className="sr">{t.table.actions}</span>, width: "76px", className: "right", cell: (one) => <a href={page.newRun(one.pipeline_id)} aria-label={t.pipelines.runOne(one.display_name ?? one.name ?? "")}>{t.pipelines.run}</a> },
];

const AT_FIRST = ["name", "description", "created"];
const CHOICES = COLUMNS.filter(({ id }) => id !== "run").map(({ id, name }) => ({ id, name: String(name), group: "fields" as const }));

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
  const { chosen, choose, chooseAll, clear } = useChosen();
  const rows = pipelines.list.filter((one) => chosen.has(one.pipeline_id));
  useTitle(t.pipelines.title);
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
      data-drop={t.pipelines.drop}
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
      <Head
        title={t.pipelines.title}
        actions={
          <>
            <CopyMenu
              items={[
                { name: t.copy.python, text: `import kfp\n\nprint(kfp.Client(host="${window.location.origin}").list_pipelines())` },
                { name: t.copy.curl, text: `curl '${window.location.origin}${api.pipelines("", text, sort)}'` },
                { name: t.copy.link, text: window.location.href },
              ]}
            />
            <Button kind="primary" disabled={busy} onClick={() => picker.current?.click()}>{busy ? t.act.uploading : t.act.upload}</Button>
          </>
        }
      />
      <input ref={picker} type="file" hidden aria-label={t.pipelines.file} accept=".yaml,.yml,.json,.zip,.gz,.tgz" onChange={(event) => { const file = event.target.files?.[0]; if (file) void upload(file); event.target.value = ""; }} />
      <div className="filters">
        <Filter label={t.pipelines.filter} hint={t.pipelines.hint} value={text} change={(filter) => setQuery({ filter })} />
        <ListTools list="pipelines" address={page.pipelines} query={query} choices={CHOICES} atFirst={AT_FIRST} />
        <span className="mute num count" role="status">{pipelines.isSuccess ? t.pipelines.count(pipelines.total) : ""}</span>
      </div>
      <Bulk
        label={t.pipelines.chosenRegion}
        count={chosen.size}
        clear={clear}
        changed={() => cache.invalidateQueries({ queryKey: ["pipelines"] })}
        deeds={[{ name: t.act.deleteAsk, rows, act: (one) => remove(api.deletePipeline(one.pipeline_id)), asks: { title: t.pipelines.deleteSome(rows.length, rows[0]?.display_name ?? rows[0]?.name ?? ""), loses: t.pipelines.deleteLoses } }]}
      />
      {failure !== undefined && <Problem error={failure} doing={t.pipelines.upload} />}
      {pipelines.isPending && <Loading what={t.loading.pipelines} />}
      {pipelines.isError && <Problem error={pipelines.error} doing={t.pipelines.reading} retry={() => void pipelines.refetch()} />}
      {pipelines.isSuccess && pipelines.list.length === 0 && (text ? <Empty title={t.pipelines.noMatch}><Button onClick={() => setQuery({ filter: undefined })}>{t.pipelines.showAll}</Button></Empty> : <Empty title={t.pipelines.none} command="kfp pipeline create -p my-pipeline pipeline.yaml"><p>{t.pipelines.noneWhy((text) => <code>{text}</code>)}</p><Button onClick={() => picker.current?.click()}>{t.act.upload}</Button></Empty>)}
      {pipelines.list.length > 0 && <Table label={t.pipelines.title} view={text} columns={pick(COLUMNS, [...columnsOf(query, AT_FIRST), "run"])} chosen={chosen} onChoose={choose} onChooseAll={(all) => (all ? chooseAll(pipelines.list.map((one) => one.pipeline_id)) : clear())} rows={pipelines.list} total={pipelines.total} keyOf={(one) => one.pipeline_id} nameOf={(one) => one.display_name ?? one.name ?? one.pipeline_id} hrefOf={(one) => page.pipeline(one.pipeline_id)} sort={sort} onSort={(sort) => setQuery({ sort })} more={pipelines.hasNextPage && !pipelines.isFetchingNextPage ? () => void pipelines.fetchNextPage() : undefined} />}
    </div>
  );
}
