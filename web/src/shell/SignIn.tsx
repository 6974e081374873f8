// For whom nobody vouches yet: how to get in, and what became of an address that no longer works.
import { useEffect } from "react";
import { t } from "../strings";
import { Command, useTitle } from "../ui/parts";
import { Brand } from "./Brand";

const WANTED = "ferroflow-wanted";

/** Goes on to the page that was asked for before signing in. */
export function resume() {
  const wanted = sessionStorage.getItem(WANTED);
  sessionStorage.removeItem(WANTED);
  if (wanted && !window.location.hash.replace(/^#\/?/, "")) window.location.replace(wanted);
}

export function SignIn({ isOut, error }: { isOut?: boolean; error?: string }) {
  useTitle(t.signIn.title);
  useEffect(() => {
    if (!isOut && window.location.hash.length > 2) sessionStorage.setItem(WANTED, window.location.hash);
  }, [isOut]);
  return (
    <main className="sign-in">
      <Brand />
      <h1>{isOut ? t.signIn.out : t.signIn.title}</h1>
      <p>{t.signIn.how}</p>
      <Command text="kfctl login" />
      <p className="mute">{t.signIn.then}</p>
      {error && <p className="mute small">{t.signIn.said(error)}</p>}
    </main>
  );
}

/** What `/login` shows when it did not let anybody in. */
export function UsedLink({ isIn }: { isIn: boolean }) {
  useTitle(t.signIn.title);
  return (
    <main className="sign-in">
      <Brand />
      <h1>{t.signIn.used}</h1>
      <p>{t.signIn.usedWhy}</p>
      <Command text="kfctl login" />
      {isIn && <p>{t.signIn.isIn((words) => <a href="/">{words}</a>)}</p>}
    </main>
  );
}
