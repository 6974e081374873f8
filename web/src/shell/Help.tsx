// What the keyboard can do.
import { t } from "../strings";
import { Dialog } from "../ui/Dialog";

const { control, enter, escape } = t.keys.names;
const KEYS: { keys: string[]; what: string }[] = [
  { keys: [control, "K"], what: t.keys.search },
  { keys: ["?"], what: t.keys.help },
  { keys: ["j"], what: t.keys.next },
  { keys: ["k"], what: t.keys.before },
  { keys: [enter], what: t.keys.open },
  { keys: ["x"], what: t.keys.choose },
  { keys: ["/"], what: t.keys.filter },
  { keys: ["g", "h"], what: t.keys.home },
  { keys: ["g", "r"], what: t.keys.runs },
  { keys: ["g", "p"], what: t.keys.pipelines },
  { keys: ["g", "e"], what: t.keys.experiments },
  { keys: ["g", "o"], what: t.keys.pods },
  { keys: ["←", "→"], what: t.keys.tab },
  { keys: [escape], what: t.keys.close },
];

export function Help({ close }: { close: () => void }) {
  return (
    <Dialog close={close} className="help" label={t.keys.title}>
      {(shut) => (
        <>
          <h2>{t.keys.title}</h2>
          <dl>
            {KEYS.map(({ keys, what }) => (
              <div key={what}>
                <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
          <div className="row end"><button type="button" className="button" data-first onClick={shut}>{t.act.close}</button></div>
        </>
      )}
    </Dialog>
  );
}
