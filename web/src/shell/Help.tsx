// What the keyboard can do.
import { useEffect, useRef } from "react";

const KEYS: { keys: string[]; what: string }[] = [
  { keys: ["Ctrl", "K"], what: "Search: pages, runs, pipelines, steps, actions (⌘ K on a Mac)" },
  { keys: ["?"], what: "This help" },
  { keys: ["j"], what: "Next row of a list, next step of a run" },
  { keys: ["k"], what: "The one before" },
  { keys: ["Enter"], what: "Open the row" },
  { keys: ["x"], what: "Choose the row, for actions on several" },
  { keys: ["/"], what: "Go to the list's filter, or to find in a log" },
  { keys: ["g", "h"], what: "Go home" },
  { keys: ["g", "r"], what: "Go to runs" },
  { keys: ["g", "p"], what: "Go to pipelines" },
  { keys: ["g", "e"], what: "Go to experiments" },
  { keys: ["g", "o"], what: "Go to pods" },
  { keys: ["←", "→"], what: "Change the tab, when a tab is focused" },
  { keys: ["Esc"], what: "Close what is open" },
];

export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} className="help" onClose={close} aria-label="Keyboard" onClick={(event) => event.target === dialog.current && dialog.current.close()}>
      <h2>Keyboard</h2>
      <dl>
        {KEYS.map(({ keys, what }) => (
          <div key={what}>
            <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <div className="row end"><button type="button" className="button" onClick={() => dialog.current?.close()}>Close</button></div>
    </dialog>
  );
}
