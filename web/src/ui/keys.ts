// Single keys belong to whoever types first.

/** Whether keys pressed there are text. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox])");
}

/** Whether the key for commands is pressed: Control, or Command where that is the custom. */
export function isCommand(event: KeyboardEvent): boolean {
  return event.ctrlKey !== event.metaKey && (event.ctrlKey || event.metaKey);
}
