// For whom nobody vouches yet: how to get in, and what became of an address that no longer works.
import { useEffect } from "react";
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
  useTitle("Sign in");
  useEffect(() => {
    if (!isOut && window.location.hash.length > 2) sessionStorage.setItem(WANTED, window.location.hash);
  }, [isOut]);
  return (
    <main className="sign-in">
      <Brand />
      <h1>{isOut ? "You are signed out" : "Sign in"}</h1>
      <p>There is no password. On the machine where Ferroflow runs, as the user who started it, type</p>
      <Command text="kfctl login" />
      <p className="mute">It prints an address that works once, within ten minutes. Open it in this browser, and you are in for a day.</p>
      {error && <p className="mute small">The server says: {error}</p>}
    </main>
  );
}

/** What `/login` shows when it did not let anybody in. */
export function UsedLink({ isIn }: { isIn: boolean }) {
  useTitle("Sign in");
  return (
    <main className="sign-in">
      <Brand />
      <h1>This address no longer works</h1>
      <p>A sign-in address works once, within ten minutes. This one was used already, or is too old, or is not whole. For a new one, type</p>
      <Command text="kfctl login" />
      {isIn && (
        <p>
          You are signed in already: <a href="/">go to the console</a>.
        </p>
      )}
    </main>
  );
}
