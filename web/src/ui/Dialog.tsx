// What floats above the page and is answered before the rest. Closing is one thing: the dialog gives the focus back, and whoever
// opened it hears of it in the same moment. (The browser's own `close` event comes later, and a key may come before it.)
import { type ReactNode, useCallback, useEffect, useRef } from "react";

interface Props {
  close: () => void;
  className?: string;
  /** Name for those who hear the page, unless a heading inside says it. */
  label?: string;
  labelledBy?: string;
  children: (shut: () => void) => ReactNode;
}

export function Dialog({ close, className, label, labelledBy, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const shut = useCallback(() => {
    dialog.current?.close();
    close();
  }, [close]);
  useEffect(() => {
    const shown = dialog.current;
    if (!shown) return;
    shown.showModal();
    // A dialog itself would choose its frame, or its first button.
    shown.querySelector<HTMLElement>("[data-first], input")?.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={className}
      aria-label={label}
      aria-labelledby={labelledBy}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        shut();
      }}
      onCancel={(event) => {
        event.preventDefault();
        shut();
      }}
      onClick={(event) => event.target === dialog.current && shut()}
    >
      {children(shut)}
    </dialog>
  );
}
