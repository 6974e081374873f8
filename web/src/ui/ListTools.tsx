// What every list offers beside its filter: which columns it shows, and views that are kept under a name. Both are part of the
// address, so that a link shows the same; names of views are kept in this browser.
import { Bookmark, Columns3, X } from "lucide-react";
import { type FormEvent, useState } from "react";
import { t } from "../strings";
import { Popover } from "./Menu";
import type { View } from "./views";

export interface Choice {
  id: string;
  name: string;
  group: "fields" | "parameters" | "metrics";
}

interface ColumnProps {
  all: Choice[];
  chosen: string[];
  /** Undefined for the columns as at first. */
  change: (chosen: string[] | undefined) => void;
  /** Whether parameters and metrics may be columns. */
  hasValues?: boolean;
}

export function ColumnChooser({ all, chosen, change, hasValues }: ColumnProps) {
  const groups = [
    { id: "fields", name: t.columns.fields },
    { id: "parameters", name: t.columns.parameters },
    { id: "metrics", name: t.columns.metrics },
  ];
  const toggle = (id: string) => change(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id]);
  const hasNoValues = all.every((one) => one.group === "fields");
  return (
    <Popover label={t.columns.button} role="dialog" button={<><Columns3 size={14} aria-hidden /> {t.columns.button}</>}>
      {(close) => (
        <div className="choices">
          {groups.map((group) => {
            const choices = all.filter((one) => one.group === group.id);
            return (
              choices.length > 0 && (
                <fieldset key={group.id}>
                  <legend className="label">{group.name}</legend>
                  {choices.map((one) => (
                    <label key={one.id}>
                      <input type="checkbox" checked={chosen.includes(one.id)} onChange={() => toggle(one.id)} /> <span className="clip">{one.name}</span>
                    </label>
                  ))}
                </fieldset>
              )
            );
          })}
          {hasValues && hasNoValues && <p className="mute">{t.columns.none}</p>}
          <button type="button" className="button quiet" onClick={() => { change(undefined); close(); }}>{t.columns.reset}</button>
        </div>
      )}
    </Popover>
  );
}

interface ViewProps {
  views: View[];
  /** What the address says now. */
  present: string;
  hrefOf: (view: View) => string;
  save: (name: string) => void;
  forget: (name: string) => void;
}

export function SavedViews({ views, present, hrefOf, save, forget }: ViewProps) {
  const [name, setName] = useState("");
  const keep = (event: FormEvent, close: () => void) => {
    event.preventDefault();
    if (name.trim() === "") return;
    save(name.trim());
    setName("");
    close();
  };
  return (
    <Popover label={t.views.button} role="dialog" button={<><Bookmark size={14} aria-hidden /> {t.views.button}</>}>
      {(close) => (
        <div className="choices views">
          {views.length === 0 ? (
            <p className="mute">{t.views.none}</p>
          ) : (
            <ul className="plain-list" aria-label={t.views.title}>
              {views.map((view) => (
                <li key={view.name}>
                  <a className="grow clip" href={hrefOf(view)} aria-current={view.query === present ? "true" : undefined} onClick={close}>{view.name}</a>
                  <button type="button" className="icon" aria-label={t.views.forget(view.name)} title={t.views.forget(view.name)} onClick={() => forget(view.name)}><X size={13} aria-hidden /></button>
                </li>
              ))}
            </ul>
          )}
          <form onSubmit={(event) => keep(event, close)}>
            <label><span className="sr">{t.views.name}</span><input value={name} placeholder={t.views.name} onChange={(event) => setName(event.target.value)} /></label>
            <button type="submit" className="button" disabled={name.trim() === ""}>{t.views.keep}</button>
          </form>
        </div>
      )}
    </Popover>
  );
}
