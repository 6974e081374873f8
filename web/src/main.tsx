import "@fontsource-variable/inter/wght.css";
import "@fontsource/jetbrains-mono/latin-400.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { lazy, StrictMode, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { CallError } from "./api/client";
import { page } from "./api/paths";
import { newCache, useSession } from "./api/queries";
import { Home } from "./pages/Home";
import { Experiment, Experiments } from "./pages/Experiments";
import { Pipelines } from "./pages/Pipelines";
import { Runs } from "./pages/Runs";
import { useRoute } from "./router";
import { Shell, SignIn } from "./shell/Shell";
import { applyTheme } from "./shell/theme";
import "./tokens.css";
import "./app.css";
import { Button, Empty, Loading, Problem } from "./ui/parts";

// The graph's library comes with the pages that draw one.
const Run = lazy(async () => ({ default: (await import("./pages/Run")).Run }));
const Pipeline = lazy(async () => ({ default: (await import("./pages/Pipeline")).Pipeline }));
const NewRun = lazy(async () => ({ default: (await import("./pages/Pipeline")).NewRun }));

function Page({ namespace }: { namespace: string }) {
  const { path, query } = useRoute();
  const [section, kind, id, , version] = path;
  if (!section) return <Home />;
  if (section === "runs" && kind === "details" && id) return <Run key={id} id={id} query={query} namespace={namespace} />;
  const pipeline = query.get("pipeline") ?? query.get("pipelineId");
  if (section === "runs" && kind === "new" && pipeline) return <NewRun pipeline={pipeline} version={query.get("version") ?? query.get("pipelineVersionId") ?? undefined} />;
  if (section === "runs" && (!kind || kind === "new")) return kind ? <Pipelines /> : <Runs query={query} />;
  if (section === "pipelines" && kind === "details" && id) return <Pipeline key={id} id={id} wanted={version} query={query} />;
  if (section === "pipelines" && !kind) return <Pipelines />;
  if (section === "experiments" && kind === "details" && id) return <Experiment key={id} id={id} />;
  if (section === "experiments" && !kind) return <Experiments />;
  return (
    <Empty title="There is no such page">
      <p>Nothing is at /{path.join("/")}. Recurring runs, tuning, training and serving are not part of this version.</p>
      <Button href={page.home}>Home</Button>
    </Empty>
  );
}

function App() {
  const session = useSession();
  if (session.isPending) return <Loading what="who you are" />;
  if (session.error instanceof CallError && (session.error.status === 401 || session.error.status === 403)) return <SignIn />;
  if (session.isError) return <main><Problem error={session.error} doing="Opening the console" retry={() => void session.refetch()} /></main>;
  return (
    <Shell session={session.data}>
      <Suspense fallback={<Loading what="the page" />}>
        <Page namespace={session.data.namespace} />
      </Suspense>
    </Shell>
  );
}

applyTheme();
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
