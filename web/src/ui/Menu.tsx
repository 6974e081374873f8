// Menus: a button and what can be done behind it, by mouse and keyboard.
import { ChevronDown, Ellipsis } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { copy } from "./clipboard";

export interface Item {
  name: string;
  isDanger?: boolean;
  run: () => void;
}

export function Menu({ label, items, children }: { label: string; items: Item[]; children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const id = useId();
  const close = () => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  useEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
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
    if (event.key === "Tab") setOpen(false);
    if (!open || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
    event.preventDefault();
    const all = [...(root.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]?.focus();
  };
  return (
    <div className="menu-root" ref={root} onKeyDown={onKeyDown}>
      <button type="button" className="button" aria-label={label} aria-haspopup="menu" aria-expanded={open} aria-controls={open ? id : undefined} onClick={() => setOpen(!open)}>
        {children}
      </button>
      {open && (
        <div className="menu" role="menu" id={id} aria-label={label}>
          {items.map((item) => (
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
          ))}
        </div>
      )}
    </div>
  );
}

/** What is done less often. */
export function MoreMenu({ items }: { items: Item[] }) {
  return (
    <Menu label="More actions" items={items}>
      <Ellipsis size={15} aria-hidden />
    </Menu>
  );
}

/** "Copy as": ways to say the same thing elsewhere. */
export function CopyMenu({ items }: { items: { name: string; text: string }[] }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(""), 1600);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <Menu label="Copy as" items={items.map(({ name, text }) => ({ name, run: () => void copy(text).then(() => setSaid("Copied")) }))}>
      <span aria-live="polite">{said || "Copy as"}</span>
      <ChevronDown size={13} aria-hidden />
    </Menu>
  );
}
