import "@fontsource-variable/inter/wght.css";
import "@fontsource/jetbrains-mono/latin-400.css";
import { QueryClientProvider, useQueryClient } from "@tanstack/react-query";
import { lazy, StrictMode, Suspense, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { CallError, SIGNED_OUT } from "./api/client";
import type { Session } from "./api/model";
import { api, page } from "./api/paths";
import { newCache, useSession } from "./api/queries";
import { Home } from "./pages/Home";
import { Experiment, Experiments } from "./pages/Experiments";
import { Pipelines } from "./pages/Pipelines";
import { Runs } from "./pages/Runs";
import { useRoute } from "./router";
import { Shell } from "./shell/Shell";
import { resume, SignIn, UsedLink } from "./shell/SignIn";
import { applyTheme } from "./shell/theme";
import { t } from "./strings";
import "./tokens.css";
import "./app.css";
import { Button, Empty, Head, Loading, Problem, useTitle } from "./ui/parts";

// The graph's library comes with the pages that draw one; so does what few look at.
const Run = lazy(async () => ({ default: (await import("./pages/Run")).Run }));
const Pipeline = lazy(async () => ({ default: (await import("./pages/Pipeline")).Pipeline }));
const NewRun = lazy(async () => ({ default: (await import("./pages/NewRun")).NewRun }));
const Pods = lazy(async () => ({ default: (await import("./pages/Pods")).Pods }));
const Pod = lazy(async () => ({ default: (await import("./pages/Pods")).Pod }));

function Page({ session }: { session: Session }) {
  const { path, query } = useRoute();
  const [section, kind, id, , version] = path;
  if (!section) return <Home />;
  if (section === "runs") {
    if (kind === "details" && id) return <Run key={id} id={id} query={query} namespace={session.namespace} />;
    if (kind === "new") return <NewRun key={query.toString()} query={query} />;
    if (!kind) return <Runs query={query} />;
  }
  if (section === "pipelines") {
    if (kind === "details" && id) return <Pipeline key={id} id={id} wanted={version} query={query} />;
    if (!kind) return <Pipelines query={query} />;
  }
  if (section === "experiments") {
    if (kind === "details" && id) return <Experiment key={id} id={id} query={query} />;
    if (!kind) return <Experiments query={query} />;
  }
  if (section === "pods") {
    if (kind && id) return <Pod key={`${kind}/${id}`} namespace={kind} name={id} query={query} />;
    if (!kind) return <Pods query={query} />;
  }
  return <Nothing session={session} path={path} />;
}

/** Addresses that lead nowhere; those of parts that people look for say so by name. */
function Nothing({ session, path }: { session: Session; path: string[] }) {
  const at = `/${path.join("/")}`;
  const part = session.absent.find(({ prefix }) => at === prefix || at.startsWith(`${prefix}/`));
  const title = part ? t.absent.title(part.title) : t.absent.nowhere;
  useTitle(title);
  return (
    <div className="page">
      <Head title={title} />
      <Empty title={part ? t.absent.notYet : t.absent.nothing}>
        <p>{part ? t.absent.part(part.title) : t.absent.at(at)}</p>
        <Button href={page.home}>{t.page.home}</Button>
      </Empty>
    </div>
  );
}

function App() {
  const session = useSession();
  const cache = useQueryClient();
  const [isOut, setOut] = useState(false);
  const isIn = session.isSuccess;
  useEffect(() => {
    if (isIn) resume();
  }, [isIn]);
  useEffect(() => {
    // Asking who this is must not lead to asking again.
    const ask = (event: Event) => void ((event as CustomEvent<string>).detail !== api.session && cache.invalidateQueries({ queryKey: ["session"] }));
    window.addEventListener(SIGNED_OUT, ask);
    return () => window.removeEventListener(SIGNED_OUT, ask);
  }, [cache]);
  if (session.isPending) return <Loading what={t.loading.who} />;
  if (window.location.pathname === "/login") return <UsedLink isIn={isIn} />;
  const isRefused = session.error instanceof CallError && (session.error.status === 401 || session.error.status === 403);
  if (isOut || isRefused) return <SignIn isOut={isOut} error={session.error instanceof CallError && session.error.status === 403 ? session.error.message : undefined} />;
  if (session.isError) return <main><Problem error={session.error} doing={t.error.opening} retry={() => void session.refetch()} /></main>;
  const signedOut = () => {
    setOut(true);
    cache.clear();
    sessionStorage.clear();
  };
  return (
    <Shell session={session.data} signedOut={signedOut}>
      <Suspense fallback={<Loading what={t.loading.page} />}>
        <Page session={session.data} />
      </Suspense>
    </Shell>
  );
}

applyTheme();
document.documentElement.lang = t.language;
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={newCache()}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  );
}
