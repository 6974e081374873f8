// Menus: a button and what can be done behind it, by mouse and keyboard.
import { ChevronDown, Ellipsis } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { t } from "../strings";
import { copy } from "./clipboard";

export interface Item {
  name: string;
  isDanger?: boolean;
  run: () => void;
}

/** A button and what it unfolds; closed by Escape, by a press elsewhere, and by Tab. */
export function Popover({ label, button, role, isQuiet, children }: { label: string; button: ReactNode; role: "menu" | "dialog"; isQuiet?: boolean; children: (close: () => void) => ReactNode }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const id = useId();
  const close = () => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  useEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>("[role=menuitem], .popover input, .popover button")?.focus();
    const outside = (event: MouseEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("mousedown", outside);
    return () => document.removeEventListener("mousedown", outside);
  }, [open]);
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === "Escape" && open) {
      event.stopPropagation();
      close();
    }
    if (event.key === "Tab" && role === "menu") setOpen(false);
    if (!open || role !== "menu" || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
    event.preventDefault();
    const all = [...(root.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]?.focus();
  };
  return (
    <div className="menu-root" ref={root} onKeyDown={onKeyDown} onBlur={(event) => open && role === "dialog" && event.relatedTarget !== null && !root.current?.contains(event.relatedTarget) && setOpen(false)}>
      <button type="button" className={isQuiet ? "button quiet" : "button"} aria-label={label} aria-haspopup={role} aria-expanded={open} aria-controls={open ? id : undefined} onClick={() => setOpen(!open)}>
        {button}
      </button>
      {open && (
        <div className={role === "menu" ? "menu" : "menu popover"} role={role} id={id} aria-label={label}>
          {children(close)}
        </div>
      )}
    </div>
  );
}

export function Menu({ label, items, isQuiet, children }: { label: string; items: Item[]; isQuiet?: boolean; children: ReactNode }) {
  return (
    <Popover label={label} isQuiet={isQuiet} button={children} role="menu">
      {(close) =>
        items.map((item) => (
          <button
            key={item.name}
            type="button"
            role="menuitem"
            tabIndex={-1}
            className={item.isDanger ? "danger" : undefined}
            onClick={() => {
              close();
              item.run();
            }}
          >
            {item.name}
          </button>
        ))
      }
    </Popover>
  );
}

/** What is done less often. */
export function MoreMenu({ items }: { items: Item[] }) {
  return (
    <Menu label={t.act.more} items={items}>
      <Ellipsis size={15} aria-hidden />
    </Menu>
  );
}

/** "Copy as": ways to say the same thing elsewhere. */
export function CopyMenu({ items, isQuiet }: { items: { name: string; text: string }[]; isQuiet?: boolean }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(""), 1600);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <Menu label={t.copy.as} isQuiet={isQuiet} items={items.map(({ name, text }) => ({ name, run: () => void copy(text).then(() => setSaid(t.copy.done)) }))}>
      <span aria-live="polite">{said || t.copy.as}</span>
      <ChevronDown size={13} aria-hidden />
    </Menu>
  );
}
