// One box for a list's filter: words that mean something become chips, the rest is looked for in names.
import { Search, X } from "lucide-react";
import { useEffect, useId, useRef, useState } from "react";
import { t } from "../strings";
import { isTyping } from "./keys";

interface Props {
  label: string;
  hint: string;
  /** The whole filter, as the address has it. */
  value: string;
  change: (value: string) => void;
  /** What is wrong with it, in words. */
  problems?: string[];
  /** Whether a word means something by itself, and what it is about: of some there may be only one. */
  isChip?: (word: string) => boolean;
  subjectOf?: (chip: string) => string;
}

const never = () => false;

export function Filter({ label, hint, value, change, problems = [], isChip = never, subjectOf = String }: Props) {
  const words = value.split(/\s+/).filter(Boolean);
  const chips = words.filter(isChip);
  const rest = words.filter((word) => !isChip(word)).join(" ");
  const [text, setText] = useState(rest);
  const [given, setGiven] = useState(rest);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  if (rest !== given) {
    setGiven(rest);
    if (rest !== text.trim()) setText(rest);
  }
  // A word being typed is not a chip yet; names are looked for when the typing rests.
  const say = (chipsNow: string[], typed: string) => change([...chipsNow, typed.trim()].filter(Boolean).join(" "));
  useEffect(() => {
    // Half a word that means something is not looked for.
    if (text.trim() === rest || /(^|\s)([a-z]+:\S*|[a-z]+\.\S*)$/.test(text)) return;
    const timer = setTimeout(() => say(chips, text), 220);
    return () => clearTimeout(timer);
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "/" || isTyping(event.target) || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      input.current?.focus();
      // What is typed now is another word.
      setText((old) => (old === "" || old.endsWith(" ") ? old : `${old} `));
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  const commit = (goesOn: boolean) => {
    const typed = text.split(/\s+/).filter(Boolean);
    const fresh = typed.filter(isChip);
    const kept = chips.filter((chip) => !fresh.some((one) => subjectOf(one) === subjectOf(chip)));
    const name = typed.filter((word) => !isChip(word)).join(" ");
    setText(goesOn && name !== "" ? `${name} ` : name);
    say([...kept, ...fresh], name);
  };
  return (
    <div className="filter-box">
      <div className="filter" onClick={() => input.current?.focus()}>
        <Search size={14} aria-hidden />
        {chips.map((chip) => (
          <span key={chip} className="token">
            {chip}
            <button type="button" aria-label={t.filter.remove(chip)} onClick={() => say(chips.filter((one) => one !== chip), text)}><X size={11} aria-hidden /></button>
          </span>
        ))}
        <input
          ref={input}
          type="text"
          aria-label={label}
          aria-invalid={problems.length > 0}
          aria-describedby={problems.length > 0 ? id : undefined}
          placeholder={chips.length > 0 ? "" : hint}
          value={text}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => setText(event.target.value)}
          onBlur={() => commit(false)}
          onKeyDown={(event) => {
            if (event.key === "Enter" || (event.key === " " && isChip(text.trim().split(/\s+/).at(-1) ?? ""))) {
              event.preventDefault();
              commit(event.key === " ");
            }
            if (event.key === "Backspace" && text === "" && chips.length > 0) say(chips.slice(0, -1), "");
            if (event.key === "Escape") input.current?.blur();
          }}
        />
        <kbd aria-hidden>/</kbd>
      </div>
      {problems.length > 0 && <p className="failed-text" id={id} role="alert">{problems.join("; ")}</p>}
    </div>
  );
}
